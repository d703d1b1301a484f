// A text as Neuronpedia prints it: tokens coloured by one feature, cut around the token that counts.
import { h } from './dom.js';
import { exact, paint, visible } from './format.js';

/** Tokens on each side of the peak. */
export const REACH = { stacked: 5, snippet: 16, full: Infinity };

/** The token with real spaces, so that lines break between words and copied text is whole. */
function words(token) {
  const shown = token.replaceAll('\n', '↵').replaceAll('\t', '⇥');
  if (shown.trim() === '') return '\u00a0'.repeat(Math.max(1, shown.length));
  return shown.replace(/^ +/, (run) => `${'\u00a0'.repeat(run.length - 1)} `);
}

function cell({ tokens, values }, i, maximum, at) {
  const value = values[i] ?? 0;
  const text = words(tokens[i]);
  const element = h('span', {
    'aria-label': text.trim() === '' ? visible(tokens[i]) : null, // a space has no name of its own
    class: i === at ? 'tok peak' : 'tok', role: 'option', tabindex: -1, 'data-i': i, 'data-value': value === 0 ? null : exact(value),
  }, text);
  paint(element, value, maximum);
  return element;
}

/**
 * @param row {tokens, values, at}
 * @param maximum the value that is painted in full
 * @param reach tokens on each side of row.at that are shown
 * @param aligned puts the peak of every row into one column
 */
export function passage(row, { maximum, reach = Infinity, breaks = false, aligned = false, label }) {
  const { tokens, at } = row;
  const from = Math.max(0, at - reach + 1);
  const to = Math.min(tokens.length, Math.max(at, 0) + reach);
  const parts = { left: [], peak: [], right: [] };
  for (let i = from; i < to; i++) {
    let side = 'right';
    if (i < at) side = 'left';
    else if (i === at) side = 'peak';
    parts[side].push(cell(row, i, maximum, at));
    if (breaks && !aligned && tokens[i].includes('\n')) parts[side].push(h('br'));
  }
  const element = h('div', { class: aligned ? 'passage aligned' : 'passage', role: 'listbox', 'aria-label': label });
  if (aligned) {
    element.append(...['left', 'peak', 'right'].map((side) => h('span', { class: side, role: 'presentation' },
      h('span', { role: 'presentation' }, parts[side]))));
  } else {
    element.append(...(from > 0 ? [h('span', { class: 'cut', 'aria-hidden': 'true' }, '…')] : []),
      ...parts.left, ...parts.peak, ...parts.right,
      ...(to < tokens.length ? [h('span', { class: 'cut', 'aria-hidden': 'true' }, '…')] : []));
  }
  return element;
}

/** What the tooltip and a screen reader say of a token. */
export function tokenWords(cells, tokens) {
  const i = Number(cells.dataset.i);
  const value = cells.dataset.value;
  const number = value ? `${Number(value) > 0 ? '+' : ''}${Number(value).toFixed(4)}` : '0';
  cells.setAttribute('aria-label', `${visible(tokens[i])}, position ${i}, activation ${number}`);
  return [h('b', {}, JSON.stringify(tokens[i]).slice(1, -1)), h('span', {}, `Feature Activation ${number}`)];
}
