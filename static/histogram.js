// Fifty bars as inline SVG, read with the pointer or with the arrow keys.
import { h, svg } from './dom.js';
import { brief, count } from './format.js';

const HEIGHT = 70;

/**
 * @param data {bars: [{count, from, to, middle}]} of dashboard.js
 * @param shade the class and opacity of a bar, from its middle
 * @param words [of the values, of the counts]: "Activation value", "tokens"
 */
export function histogram(data, { label, words: [what, things], shade }) {
  const { bars } = data;
  const peak = Math.max(1, ...bars.map((bar) => bar.count));
  const low = bars[0].from;
  const high = bars[bars.length - 1].to;
  const said = h('p', { class: 'said', role: 'status' });
  const slots = bars.map((bar, i) => {
    // One token among thousands is still to be seen.
    const height = bar.count > 0 ? Math.max(1.2, (HEIGHT * bar.count) / peak) : 0;
    const { name, alpha } = shade(bar.middle);
    return svg('g', { 'data-bar': i },
      svg('rect', { class: 'slot', x: i, y: 0, width: 1, height: HEIGHT }),
      svg('rect', { class: name, x: i + 0.08, width: 0.84, y: HEIGHT - height, height, 'fill-opacity': alpha }));
  });
  const marker = svg('line', { class: 'marker', y1: 0, y2: HEIGHT, x1: -1, x2: -1, visibility: 'hidden' });
  const zero = low < 0 && high > 0
    ? svg('line', { class: 'zero', x1: (-low / (high - low)) * bars.length, x2: (-low / (high - low)) * bars.length, y1: 0, y2: HEIGHT }) : null;
  const plot = svg('svg', {
    viewBox: `0 0 ${bars.length} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true',
  }, ...slots, ...(zero ? [zero] : []), marker);
  const frame = h('div', {
    class: 'hist', tabindex: '0', role: 'group', 'aria-label': `${label}: ${bars.length} bars from ${brief(low)} to ${brief(high)}; arrow keys read them`,
  }, plot, h('div', { class: 'ends', 'aria-hidden': 'true' }, h('span', {}, brief(low)), said, h('span', {}, brief(high))));

  let at = -1;
  function read(i) {
    slots[at]?.classList.remove('inspected');
    at = i;
    slots[at]?.classList.add('inspected');
    const bar = bars[at];
    said.textContent = bar ? `${brief(bar.from)} – ${brief(bar.to)}: ${count(bar.count)} ${things}` : '';
    said.title = bar ? `${what} ${bar.from} to ${bar.to}` : '';
  }
  plot.addEventListener('pointermove', (event) => {
    const slot = event.target.closest('[data-bar]');
    if (slot) read(Number(slot.dataset.bar));
  });
  plot.addEventListener('pointerleave', () => read(-1));
  frame.addEventListener('blur', () => read(-1));
  frame.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    read(Math.max(0, Math.min(bars.length - 1, at < 0 && step < 0 ? bars.length - 1 : at + step)));
  });

  /** Draws a line at a value; null: none. */
  function mark(value) {
    const inside = value !== null && value >= low && value <= high && high > low;
    marker.setAttribute('visibility', inside ? 'visible' : 'hidden');
    if (!inside) return;
    const x = ((value - low) / (high - low)) * bars.length;
    marker.setAttribute('x1', x);
    marker.setAttribute('x2', x);
  }
  return { element: frame, mark };
}
