// A list of features with their values: a bar, or the values along the text.
import { h, roving, svg } from './dom.js';
import { exact, percent, short, visible } from './format.js';

function bar(value, maximum) {
  return svg('svg', { class: 'bar', viewBox: '0 0 100 4', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    svg('rect', { width: maximum > 0 ? (100 * Math.max(0, value)) / maximum : 0, height: 4 }));
}

function strip(values, marked) {
  const n = values.length;
  const maximum = Math.max(...values);
  const bars = values.map((value, i) => {
    if (!(value > 0)) return null;
    const height = Math.max(1.5, (16 * value) / maximum);
    return svg('rect', { x: i + 0.1, y: 16 - height, width: 0.8, height });
  });
  const marks = marked.filter((i) => i < n)
    .map((i) => svg('rect', { class: 'mark', x: i, y: 0, width: 1, height: 16 }));
  return svg('svg', {
    class: 'strip', viewBox: `0 0 ${Math.max(n, 12)} 16`, preserveAspectRatio: 'none', 'aria-hidden': 'true',
  }, ...marks, ...bars);
}

/**
 * rows: [{feature, value, token?, values?, density?}]; onChoose is called with the feature's index, pathOf gives its page,
 * nameOf what it is called ('' while that is not known; `rename` looks again).
 */
export function featureList({ label, onChoose, pathOf, nameOf }) {
  const element = h('ol', { class: 'features', 'aria-label': label });
  const { current } = roving(element, 'button', { next: ['ArrowDown'], previous: ['ArrowUp'] });

  function show(rows, chosen, marked = []) {
    const held = element.contains(document.activeElement) ? document.activeElement.dataset.feature : null;
    const maximum = Math.max(0, ...rows.map(({ value }) => value));
    element.replaceChildren(...rows.map(({ feature, value, token, values, density }) => h('li', {},
      // For the pointer; by keyboard the page is reached through the chosen feature's title.
      h('a', { class: 'index', href: pathOf(feature), tabindex: -1, title: `The page of feature ${feature}` }, String(feature)),
      h('button', {
        type: 'button', class: values ? 'feature wide' : 'feature', tabindex: -1,
        'data-feature': feature, 'data-value': exact(value), title: density === undefined ? exact(value) : `${exact(value)} · density ${percent(density)}`,
        'aria-pressed': String(feature === chosen), onclick: () => onChoose(feature),
      },
      h('span', { class: 'unseen' }, `Feature ${feature}`),
      values ? strip(values, marked) : bar(value, maximum),
      token === undefined ? null : h('span', { class: 'peak' }, visible(token)),
      h('span', { class: 'value' }, short(value)),
      h('span', { class: 'name' }, nameOf(feature))))));
    const buttons = [...element.querySelectorAll('button')];
    if (!buttons.length) return;
    const same = buttons.find(({ dataset }) => dataset.feature === held);
    current(same ?? buttons[0]);
    if (held !== null) (same ?? buttons[0]).focus();
  }

  function choose(feature) {
    for (const button of element.querySelectorAll('button')) {
      button.setAttribute('aria-pressed', String(Number(button.dataset.feature) === feature));
    }
  }

  function rename() {
    for (const button of element.querySelectorAll('button')) {
      button.querySelector('.name').textContent = nameOf(Number(button.dataset.feature));
    }
  }

  return { element, show, choose, rename };
}
