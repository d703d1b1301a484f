// The texts on which a feature fires: the top ones, then a sample of every interval of its values.
import { h, roving } from './dom.js';
import { fold, groups } from './dashboard.js';
import { brief, percent, short, visible } from './format.js';
import { passage, REACH, tokenWords } from './passage.js';
import { setQuery } from './paths.js';
import { tips } from './tip.js';

const MODES = { stacked: 'Stacked', snippet: 'Snippet', full: 'Full' };

/** One row. Its lead is the button that unfolds it; the tokens are walked with ← →. */
function line(example, { maximum, mode, breaks, onCopy }) {
  let open = false;
  const peak = visible((example.tokens[example.at] ?? '').trim() || (example.tokens[example.at] ?? ''));
  const lead = h('button', { type: 'button', class: 'lead', 'aria-expanded': 'false', tabindex: -1 },
    h('span', { class: 'peaktoken' }, peak), h('span', { class: example.value < 0 ? 'value below' : 'value' }, short(example.value)));
  const copy = onCopy ? h('button', {
    type: 'button', class: 'plain copy', tabindex: -1, title: 'Test this text (t)', 'aria-label': 'Copy this text to the test box',
    onclick: (event) => { event.stopPropagation(); onCopy(example); },
  }, 'Test') : '';
  const element = h('div', { class: 'row' }, lead, copy);
  let text = null;
  function draw() {
    const shown = open ? 'full' : mode;
    const next = passage(example, {
      maximum, reach: REACH[shown], breaks: breaks || open, aligned: shown === 'stacked', label: `Text with ${short(example.value)} on ${peak}`,
    });
    if (text) text.replaceWith(next);
    else lead.after(next);
    text = next;
    lead.setAttribute('aria-expanded', String(open));
  }
  element.addEventListener('click', () => {
    if (String(getSelection())) return; // a person who marks text does not want it to move
    open = !open;
    draw();
  });
  element.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && event.target.closest('.tok')) {
      lead.click();
      lead.focus();
    }
    if (event.key === 't' && onCopy && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      onCopy(example);
    }
  });
  element.tokens = example.tokens;
  draw();
  return element;
}

function walk(list) {
  const { current } = roving(list, '.lead', { next: ['ArrowDown'], previous: ['ArrowUp'] });
  list.addEventListener('keydown', (event) => {
    const row = event.target.closest('.row');
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const lead = row.querySelector('.lead');
    const cells = [...row.querySelectorAll('.tok')];
    const at = cells.indexOf(event.target);
    if (event.key === 'ArrowRight') {
      event.preventDefault();
      (at < 0 ? row.querySelector('.tok.peak') ?? cells[0] : cells[at + 1])?.focus();
    } else if (event.key === 'ArrowLeft' && at >= 0) {
      event.preventDefault();
      (cells[at - 1] ?? lead).focus();
    } else if (event.key === 'Escape' && at >= 0) {
      lead.focus();
    } else if ((event.key === 'ArrowDown' || event.key === 'ArrowUp') && at >= 0) {
      event.preventDefault();
      const rows = [...list.querySelectorAll('.row')];
      rows[rows.indexOf(row) + (event.key === 'ArrowDown' ? 1 : -1)]?.querySelector('.lead').focus();
    }
  });
  return current;
}

export function bandTitle(group) {
  if (group.top) return ['Top activations'];
  if (group.lowest) return ['Lowest values'];
  return [`Interval ${group.low.toFixed(3)} – ${group.high.toFixed(3)}`,
    h('span', { class: 'muted' }, ` contains ${percent(group.share)} of tokens`)];
}

/** What a group is called where there is little room. */
function bandName({ top, lowest, low, high }) {
  if (top) return 'Top';
  return lowest ? 'Lowest' : `${brief(low)} to ${brief(high)}`;
}

/** Row by row without controls: for previews. */
export function examplesList(examples, { maximum, mode = 'snippet', onCopy = null, breaks = false }) {
  const list = h('div', { class: 'rows' }, examples.map((one) => line(one, { maximum, mode, breaks, onCopy })));
  const current = walk(list);
  const first = list.querySelector('.lead');
  if (first) current(first);
  describe(list);
  return list;
}

function describe(list) {
  tips(list, '.tok', (cell) => tokenWords(cell, cell.closest('.row').tokens));
}

/** @param onCopy(example) puts its text into the test box */
export function activationsPane(examples, { onCopy }) {
  const query = new URLSearchParams(location.search);
  let mode = query.get('view') in MODES ? query.get('view') : 'snippet';
  let breaks = query.get('breaks') !== 'hide';
  let duplicates = false;
  // The lowest interval holds silent tokens too; a neuron is never silent.
  const live = examples.filter(({ value, signed }) => value > 0 || signed);
  const maximum = Math.max(0, ...live.flatMap((one) => one.values.map(Math.abs)));
  const list = h('div', { class: 'rows' });
  const current = walk(list);
  describe(list);

  const modes = Object.entries(MODES).map(([name, words]) => h('button', {
    type: 'button', 'data-mode': name, onclick: () => change({ mode: name }),
  }, words));
  const breakButton = h('button', { type: 'button', class: 'plain', id: 'breaks', onclick: () => change({ breaks: !breaks }) });
  const more = h('button', { type: 'button', class: 'plain', id: 'duplicates', onclick: () => change({ duplicates: !duplicates }) });

  const bands = h('nav', { class: 'bands', 'aria-label': 'Go to an interval' });

  function goTo(row) {
    row.scrollIntoView({ block: 'start' });
    row.querySelector('.lead').focus({ preventScroll: true });
  }
  function draw() {
    let hidden = 0;
    const all = groups(live);
    const starts = [];
    list.replaceChildren(...all.flatMap((group) => {
      const { firsts, others } = fold(group.rows);
      hidden += others.length;
      const rows = (duplicates ? group.rows : firsts).map((one) => line(one, { maximum, mode, breaks, onCopy }));
      starts.push(rows[0]);
      return [h('h3', { class: 'band' }, ...bandTitle(group)), ...rows];
    }));
    bands.replaceChildren(...all.map((group, i) => h('button', { type: 'button', class: 'plain', onclick: () => goTo(starts[i]) }, bandName(group))));
    bands.hidden = all.length < 3;
    const first = list.querySelector('.lead');
    if (first) current(first);
    for (const button of modes) button.setAttribute('aria-pressed', String(button.dataset.mode === mode));
    breakButton.textContent = breaks ? 'Hide Breaks' : 'Show Breaks';
    more.textContent = duplicates ? 'Hide Duplicates' : `Show ${hidden} ${hidden === 1 ? 'Duplicate' : 'Duplicates'}`;
    more.hidden = hidden === 0;
  }
  function change(what) {
    ({ mode, breaks, duplicates } = { mode, breaks, duplicates, ...what });
    setQuery({ view: mode === 'snippet' ? null : mode, breaks: breaks ? null : 'hide' });
    draw();
  }
  const element = h('section', { class: 'activations', 'aria-label': 'Activations' },
    h('div', { class: 'head' }, h('h2', {}, 'Activations'), more,
      breakButton, h('div', { class: 'switch', role: 'group', 'aria-label': 'How much of each text' }, modes)),
    bands, live.length ? list : h('p', { class: 'muted' }, 'No Known Activations'));
  draw();
  return element;
}
