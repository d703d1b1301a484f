// Lines over the layers: a handful of named series, told apart by colour and by dash.
import { h, svg } from './dom.js';

const HEIGHT = 168;
const MARGIN = { top: 12, right: 12, bottom: 20, left: 44 };
export const MOST_LINES = 5;

/** The swatch beside a series' name. */
export const swatch = (i) => svg('svg', { class: `swatch line${i}`, viewBox: '0 0 22 6', 'aria-hidden': 'true' }, svg('line', { x1: 0, x2: 22, y1: 3, y2: 3 }));

/** @param onPoint called with the row under the pointer, or null */
export function lineChart({ label, onPoint = () => {} }) {
  const element = h('div', { class: 'lines' });
  let drawn = null;
  let at = null;
  let guide = null;

  const place = () => {
    const width = element.clientWidth || 400;
    const inner = width - MARGIN.left - MARGIN.right;
    const n = drawn.names.length;
    return { width, x: (i) => MARGIN.left + (n > 1 ? (inner * i) / (n - 1) : inner / 2) };
  };
  function mark(i) {
    at = i;
    if (!guide) return;
    guide.setAttribute('visibility', i === null ? 'hidden' : 'visible');
    if (i === null) return;
    const { x } = place();
    guide.setAttribute('x1', x(i));
    guide.setAttribute('x2', x(i));
  }
  function draw() {
    if (!drawn) return;
    const { width, x } = place();
    const { names, series, scale, ticks } = drawn;
    const y = (value) => MARGIN.top + (HEIGHT - MARGIN.top - MARGIN.bottom) * (1 - scale(value));
    const every = Math.max(1, Math.ceil((names.length * 34) / (width - MARGIN.left)));
    guide = svg('line', { class: 'guide', y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom });
    element.replaceChildren(svg('svg', { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: 'img', 'aria-label': label() },
      ...ticks.flatMap(({ value, words }) => [svg('line', { class: 'tick', x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }),
        svg('text', { class: 'label end', x: MARGIN.left - 8, y: y(value) + 4 }, words)]),
      ...names.map((name, i) => (i % every === 0 || i === names.length - 1 && i % every > every / 2 ? svg('text', { class: 'label middle', x: x(i), y: HEIGHT - 5 }, name) : svg('g'))),
      guide,
      ...series.map(({ values }, k) => svg('g', { class: `line${k}` },
        svg('polyline', { points: values.map((value, i) => `${x(i).toFixed(1)},${y(value).toFixed(1)}`).join(' ') }),
        ...values.map((value, i) => svg('circle', { cx: x(i), cy: y(value), r: 2.2 }))))));
    mark(at);
  }
  element.addEventListener('pointermove', (event) => {
    if (!drawn) return;
    const { x } = place();
    const left = event.clientX - element.getBoundingClientRect().left;
    const nearest = drawn.names.map((_, i) => Math.abs(x(i) - left));
    onPoint(nearest.indexOf(Math.min(...nearest)));
  });
  element.addEventListener('pointerleave', () => onPoint(null));
  let width = 0;
  new ResizeObserver(() => {
    if (element.clientWidth === width) return;
    width = element.clientWidth;
    draw();
  }).observe(element);

  return {
    element, mark,
    /** @param what {names, series: [{values}], scale: value -> 0..1, ticks: [{value, words}]} */
    show(what) {
      drawn = what;
      draw();
    },
  };
}
