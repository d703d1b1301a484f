// Elements without markup strings: what comes from a model or a person is text, never HTML.

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** h('button', {class: 'x', onclick: f}, 'text', child) */
export function h(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return build(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

/** Makes the children of a container one stop of the Tab key, walked with the arrow keys. */
export function roving(container, selector, { next, previous }) {
  const items = () => [...container.querySelectorAll(selector)];
  function current(item) {
    for (const other of container.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
    item.tabIndex = 0;
  }
  container.addEventListener('focusin', (event) => {
    const item = event.target.closest(selector);
    if (item) current(item);
  });
  container.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const all = items();
    const at = all.indexOf(event.target.closest(selector));
    if (at < 0) return;
    let to = null;
    if (next.includes(event.key)) to = Math.min(at + 1, all.length - 1);
    else if (previous.includes(event.key)) to = Math.max(at - 1, 0);
    else if (event.key === 'Home') to = 0;
    else if (event.key === 'End') to = all.length - 1;
    if (to === null) return;
    event.preventDefault();
    all[to].focus();
  });
  return { current };
}
