// Values over the positions of the text: bars with the token below, the exact numbers as a table.
import { h, svg } from './dom.js';
import { exact, short, visible } from './format.js';

const HEIGHT = 100;

/** @param onPoint called with the position under the pointer, or null */
export function valueChart({ onPoint }) {
  const caption = h('p', { class: 'readout', 'aria-live': 'off' });
  const plot = h('div', { class: 'plot' });
  const axis = h('div', { class: 'axis', 'aria-hidden': 'true' });
  const rows = h('tbody');
  const table = h('details', {},
    h('summary', {}, 'All values'),
    h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'All values' },
      h('table', {},
        h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'position'), h('th', { scope: 'col' }, 'token'),
          h('th', { scope: 'col' }, 'value'))), rows)));
  const element = h('div', { class: 'chart' }, caption, plot, axis, table);
  let drawn = { tokens: [], entries: [], peak: null, what: null };
  let slots = [];

  function labels() {
    const { entries, tokens } = drawn;
    const room = plot.clientWidth / Math.max(1, entries.length);
    axis.classList.toggle('upright', room < 52);
    axis.hidden = room < 14;
    axis.replaceChildren(...(axis.hidden ? [] : entries).map(([position]) => h('span', {}, visible(tokens[position].trim() || tokens[position]))));
  }
  new ResizeObserver(labels).observe(plot);

  plot.addEventListener('pointermove', (event) => {
    const slot = event.target.closest('[data-position]');
    onPoint(slot ? Number(slot.dataset.position) : null);
  });
  plot.addEventListener('pointerleave', () => onPoint(null));

  /** The line above the bars: the position pointed at, else the maximum. */
  function inspect(position) {
    const { tokens, entries, peak, what } = drawn;
    for (const slot of slots) slot.classList.toggle('inspected', Number(slot.dataset.position) === position);
    const found = entries.find(([at]) => at === position) ?? entries.find(([at]) => at === peak);
    if (!found) return caption.replaceChildren();
    const [at, value] = found;
    caption.replaceChildren(
      h('span', { class: 'value', 'data-value': exact(value) }, exact(value)),
      h('span', { class: 'chip' }, visible(tokens[at])),
      h('span', { class: 'muted' }, `position ${at}${what(at)}${at === peak ? ' · maximum' : ''}`));
  }

  /** values: position -> number, in order; what: words after a position (" · feature 7"). */
  function show(tokens, values, { label, what }) {
    const entries = [...values];
    const maximum = Math.max(0, ...entries.map(([, value]) => value));
    const peak = maximum > 0 ? entries.find(([, value]) => value === maximum)[0] : null;
    drawn = { tokens, entries, peak, what };
    slots = entries.map(([position, value], i) => {
      const height = maximum > 0 ? (HEIGHT * Math.max(0, value)) / maximum : 0;
      return svg('g', { 'data-position': position, 'data-value': exact(value) },
        svg('title', {}, `${visible(tokens[position])} · position ${position} · ${exact(value)}`),
        svg('rect', { class: 'slot', x: i, y: 0, width: 1, height: HEIGHT }),
        svg('rect', { class: position === peak ? 'column peak' : 'column', x: i + 0.12, width: 0.76,
          y: HEIGHT - height, height }));
    });
    plot.replaceChildren(
      h('span', { class: 'scale', 'aria-hidden': 'true' }, maximum > 0 ? short(maximum) : ''),
      svg('svg', { viewBox: `0 0 ${Math.max(1, entries.length)} ${HEIGHT}`, preserveAspectRatio: 'none',
        role: 'img', 'aria-label': label }, ...slots));
    rows.replaceChildren(...entries.map(([position, value]) => h('tr', {},
      h('td', {}, String(position)), h('td', {}, visible(tokens[position])),
      h('td', { 'data-value': exact(value) }, exact(value)))));
    labels();
    inspect(null);
  }

  return { element, show, inspect };
}
