// The text as a row of tokens: coloured, walked with the arrow keys, marked with a click or Enter.
import { h, roving } from './dom.js';
import { exact, paint, visible } from './format.js';

/** What a token looks like inside the row: a leading space is padding, not a character. */
function face(token) {
  const shown = token.replaceAll('\n', '↵').replaceAll('\t', '⇥');
  const text = shown.trim() === '' ? '\u00a0'.repeat(Math.max(1, shown.length)) : shown.trim();
  return { text, before: /^ +\S/.test(shown), after: /\S +$/.test(shown) };
}

/**
 * @param paintCell (cell, value, maximum) colours a token: an activation if nothing else is said
 * @param onInspect called with the position that the person points at or has focused, or null
 * @param onMark called with a position that was clicked
 */
export function tokenRow({ onInspect, onMark, paintCell = paint }) {
  const element = h('div', {
    class: 'tokens', role: 'listbox', 'aria-label': 'Tokens of the text',
    'aria-multiselectable': 'true', 'aria-orientation': 'horizontal',
  });
  let cells = [];
  const { current } = roving(element, '.token:not(.bos)', {
    next: ['ArrowRight', 'ArrowDown'], previous: ['ArrowLeft', 'ArrowUp'],
  });
  const positionOf = (event) => {
    const cell = event.target.closest('.token:not(.bos)');
    return cell ? Number(cell.dataset.position) : null;
  };

  element.addEventListener('focusin', (event) => onInspect(positionOf(event), true));
  element.addEventListener('pointerover', (event) => {
    if (event.pointerType !== 'touch') onInspect(positionOf(event), false);
  });
  element.addEventListener('pointerleave', () => onInspect(null, false));
  element.addEventListener('click', (event) => {
    const position = positionOf(event);
    if (position === null) return;
    cells[position].focus();
    onMark(position);
  });
  element.addEventListener('keydown', (event) => {
    const position = positionOf(event);
    if (position === null || (event.key !== 'Enter' && event.key !== ' ')) return;
    event.preventDefault();
    onMark(position);
  });

  /** Token 0 is greyed and cannot be chosen if it is the BOS. */
  function show(tokens, hasBos) {
    cells = tokens.map((token, position) => {
      const bos = position === 0 && hasBos;
      const { text, before, after } = face(token);
      const classes = ['token', bos && 'bos', before && 'before', after && 'after'];
      return h('span', {
        class: classes.filter(Boolean).join(' '), role: 'option', 'data-position': position,
        'aria-selected': 'false', 'aria-disabled': bos ? 'true' : null, tabindex: bos ? null : -1,
        'aria-label': bos ? `${token}, not counted` : null, title: bos ? 'Not counted' : null,
      }, text);
    });
    const parts = [];
    tokens.forEach((token, position) => {
      parts.push(cells[position]);
      if (token.includes('\n')) parts.push(h('span', { class: 'break', 'aria-hidden': 'true' }));
    });
    element.replaceChildren(...parts);
    const first = cells.find((cell) => !cell.classList.contains('bos'));
    if (first) current(first);
  }

  /** values: position -> number; what: position -> what the number is ("feature 7"). */
  function colour(tokens, values, what) {
    const maximum = Math.max(0, ...values.values());
    cells.forEach((cell, position) => {
      if (cell.classList.contains('bos')) return;
      const value = values.get(position);
      paintCell(cell, value ?? 0, maximum);
      const words = value === undefined ? '' : `, ${what(position)}: ${exact(value)}`;
      cell.setAttribute('aria-label', `${position}: ${visible(tokens[position])}${words}`);
      cell.title = `${JSON.stringify(tokens[position])} at ${position}${words}`;
      if (value === undefined) delete cell.dataset.value;
      else cell.dataset.value = exact(value);
    });
  }

  function mark(positions) {
    cells.forEach((cell, position) => {
      cell.setAttribute('aria-selected', String(positions.includes(position)));
    });
  }

  function inspect(position) {
    cells.forEach((cell, at) => cell.classList.toggle('inspected', at === position));
  }

  return { element, show, colour, mark, inspect };
}
