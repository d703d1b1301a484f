// A grid of numbers as an image, a square a number, read with the pointer or with the arrow keys.
import { h } from './dom.js';
import { redrawn } from './colour.js';

/** Draws rows x columns numbers into a canvas, one pixel each; the style sheet makes them squares. */
export function pixels(canvas, { rows, columns, data, colour }) {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext('2d');
  const image = context.createImageData(columns, rows);
  const shade = colour();
  for (let i = 0; i < rows * columns; i++) {
    if (i < data.length) image.data.set(shade(data[i], i), 4 * i);
  }
  context.putImageData(image, 0, 0);
  canvas.style.aspectRatio = `${columns} / ${rows}`;
}

/**
 * @param label what a screen reader calls it
 * @param onPoint called with the cell's number, or null, and whether it is chosen rather than pointed at
 */
export function heat({ label, onPoint }) {
  const canvas = h('canvas', { 'aria-hidden': 'true' });
  const ring = h('span', { class: 'ring', hidden: true });
  const element = h('div', { class: 'heat', tabindex: '0', role: 'group', 'aria-label': `${label}; arrow keys read it` }, canvas, ring);
  let drawn = null;
  let at = null;

  function place(i) {
    ring.hidden = i === null;
    if (i === null) return;
    const { rows, columns } = drawn;
    ring.style.left = `${(100 * (i % columns)) / columns}%`;
    ring.style.top = `${(100 * Math.floor(i / columns)) / rows}%`;
    ring.style.width = `${100 / columns}%`;
    ring.style.height = `${100 / rows}%`;
  }
  /** Marks a cell without telling anybody. */
  function mark(i) {
    at = i;
    place(i);
  }
  function cellOf(event) {
    const box = canvas.getBoundingClientRect();
    const { rows, columns } = drawn;
    const column = Math.floor((columns * (event.clientX - box.left)) / box.width);
    const row = Math.floor((rows * (event.clientY - box.top)) / box.height);
    const i = row * columns + column;
    return row >= 0 && row < rows && column >= 0 && column < columns && i < drawn.data.length ? i : null;
  }
  canvas.addEventListener('pointermove', (event) => {
    const i = cellOf(event);
    place(i ?? at);
    onPoint(i, false);
  });
  canvas.addEventListener('pointerleave', () => {
    place(at);
    onPoint(null, false);
  });
  canvas.addEventListener('click', (event) => {
    mark(cellOf(event));
    onPoint(at, true);
  });
  element.addEventListener('keydown', (event) => {
    const { columns, data } = drawn;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const next = at === null ? 0 : at + step;
    if (next < 0 || next >= data.length) return;
    mark(next);
    onPoint(next, true);
  });

  const draw = () => drawn && pixels(canvas, drawn);
  redrawn(element, draw);
  return {
    element, mark,
    /** @param what {rows, columns, data, colour: () => (value, i) => pixel} */
    show(what) {
      if (drawn && what.data.length !== drawn.data.length) mark(null);
      drawn = what;
      draw();
    },
  };
}
