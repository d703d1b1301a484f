// The lens's table: a row a depth, a column a token, in each cell what the model would say there.
import { paintShare } from './colour.js';
import { h } from './dom.js';
import { visible } from './format.js';

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** What the colour of a cell can say: a share of one each. */
export const SHADES = {
  probability: { words: 'probability of the first token', share: ({ probs }) => probs[0] ?? 0 },
  entropy: { words: 'entropy', share: ({ entropy }, { most }) => (most.entropy > 0 ? entropy / most.entropy : 0) },
  kl: { words: 'distance to the end (KL)', share: ({ kl }, { most }) => (most.kl > 0 ? kl / most.kl : 0) },
};

/** @param onLook(row, column | null): pointed at; onChoose(row, column): focused or clicked */
export function lensTable({ onLook, onChoose }) {
  const head = h('thead');
  const body = h('tbody');
  const table = h('table', { class: 'lens', role: 'grid', 'aria-label': 'What the model would say, by depth and token' }, head, body);
  const element = h('div', { class: 'lensscroll' }, table);
  let names = [];
  let columns = []; // a column a token: its cells, or null while it is not known
  let shade = 'probability';

  const cellAt = (row, column) => body.children[row]?.children[column + 1];
  const placeOf = (event) => {
    const cell = event.target.closest('td');
    return cell && !cell.classList.contains('open') ? [cell.parentElement.sectionRowIndex, cell.cellIndex - 1] : null;
  };
  function paint(row, column) {
    const most = { entropy: 0, kl: 0 };
    for (const known of columns) for (const one of known ?? []) for (const name of ['entropy', 'kl']) most[name] = Math.max(most[name], one[name]);
    const one = columns[column]?.[row];
    if (one) paintShare(cellAt(row, column), SHADES[shade].share(one, { most }));
  }
  function repaint() {
    columns.forEach((known, column) => known?.forEach((_, row) => paint(row, column)));
  }
  function choose(row, column, focus) {
    table.querySelector('[tabindex="0"]')?.setAttribute('tabindex', '-1');
    table.querySelector('[aria-selected="true"]')?.setAttribute('aria-selected', 'false');
    const cell = cellAt(row, column);
    if (!cell) return;
    cell.tabIndex = 0;
    cell.setAttribute('aria-selected', 'true');
    [...head.querySelectorAll('th')].forEach((one, i) => one.classList.toggle('chosen', i === column + 1));
    if (focus) return cell.focus();
    const beyond = cell.offsetLeft + cell.offsetWidth - element.clientWidth;
    if (cell.offsetLeft - 56 < element.scrollLeft || beyond > element.scrollLeft) element.scrollLeft = Math.max(0, beyond + cell.offsetWidth / 2);
  }
  body.addEventListener('pointerover', (event) => placeOf(event) && onLook(...placeOf(event)));
  body.addEventListener('pointerleave', () => onLook(null, null));
  body.addEventListener('click', (event) => placeOf(event) && onChoose(...placeOf(event), true));
  body.addEventListener('focusin', (event) => placeOf(event) && onChoose(...placeOf(event), false));
  body.addEventListener('keydown', (event) => {
    if (!STEPS[event.key] || event.ctrlKey || event.metaKey || event.altKey || !placeOf(event)) return;
    event.preventDefault();
    const [row, column] = placeOf(event).map((at, axis) => at + STEPS[event.key][axis]);
    if (columns[column]?.[row]) cellAt(row, column).focus();
  });

  return {
    element, choose,
    /** An empty table of this shape. */
    open(rows, tokens) {
      names = rows;
      columns = tokens.map(() => null);
      head.replaceChildren(h('tr', {}, h('th', { class: 'depth', scope: 'col' }, h('span', { class: 'unseen' }, 'Depth')),
        tokens.map((token, i) => h('th', { scope: 'col', title: `${JSON.stringify(token)} at ${i}` }, visible(token)))));
      body.replaceChildren(...names.map((name) => h('tr', {}, h('th', { scope: 'row', class: 'depth' }, name), tokens.map(() => h('td', { class: 'open', role: 'gridcell' })))));
      table.style.minWidth = `${56 + 62 * tokens.length}px`;
    },
    /** A token's column has arrived. */
    fill(column, cells) {
      columns[column] = cells;
      cells.forEach((one, row) => {
        const cell = h('td', { role: 'gridcell', tabindex: -1, 'aria-selected': 'false', 'data-p': one.probs[0],
          'aria-label': `${names[row]}, token ${column}: ${visible(one.tokens[0] ?? '')}, ${(100 * one.probs[0]).toFixed(2)}%` }, visible(one.tokens[0] ?? ''));
        cellAt(row, column).replaceWith(cell);
        if (shade === 'probability') paint(row, column);
      });
    },
    shade(name) {
      shade = name;
      repaint();
    },
  };
}
