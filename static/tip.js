// The one tooltip of a page: shown without delay on hover and on focus, never in the way of a click.
import { h } from './dom.js';

const box = h('div', { class: 'tip', role: 'tooltip', id: 'tip', hidden: true });
let shownFor = null;

function place(target) {
  const rect = target.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = box;
  const left = Math.max(8, Math.min(rect.left + rect.width / 2 - width / 2, innerWidth - width - 8));
  const above = rect.top - height - 6;
  box.style.left = `${left}px`;
  box.style.top = `${above > 4 ? above : rect.bottom + 6}px`;
}

function show(target, content) {
  if (!content) return hide();
  if (!box.isConnected) document.body.append(box);
  box.replaceChildren(...content);
  box.hidden = false;
  shownFor = target;
  place(target);
}

function hide() {
  box.hidden = true;
  shownFor = null;
}

/** @param describe the nodes to show for an element that matches the selector, or null */
export function tips(container, selector, describe) {
  const over = (event) => {
    const target = event.target.closest(selector);
    if (!target || !container.contains(target)) hide();
    else if (target !== shownFor) show(target, describe(target));
  };
  container.addEventListener('pointerover', over);
  container.addEventListener('focusin', over);
  container.addEventListener('pointerleave', hide);
  container.addEventListener('focusout', hide);
}

window.addEventListener('scroll', hide, { passive: true, capture: true });
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') hide();
});
