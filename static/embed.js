// Neuronpedia's embed parameters: ?embed=true and what of the page is to be seen in a frame.
import { h } from './dom.js';

const PARTS = [
  ['explanation', 'embedexplanation', 'Explanation'], ['plots', 'embedplots', 'Plots and logits'],
  ['test', 'embedtest', 'Test'], ['testfield', 'embedtestfield', 'Test field'],
  ['activations', 'embedactivations', 'Activations'], ['link', 'embedlink', 'Link'],
];

/** Outside of a frame everything is shown. */
export function embedParts() {
  const query = new URLSearchParams(location.search);
  const embedded = query.get('embed') === 'true';
  const parts = { embedded };
  for (const [part, name] of PARTS) parts[part] = !embedded || query.get(name) !== 'false';
  return parts;
}

/** The code of a frame with the parts that are ticked. */
export function embedPane({ source, index }) {
  const code = h('pre', { tabindex: '0', role: 'region', 'aria-label': 'The frame’s code' });
  const boxes = PARTS.map(([, name, words]) => {
    const box = h('input', { type: 'checkbox', name, checked: true, onchange: () => write() });
    return h('label', {}, box, ` ${words}`);
  });
  function write() {
    const query = new URLSearchParams({ embed: 'true' });
    for (const label of boxes) {
      const box = label.querySelector('input');
      query.set(box.name, String(box.checked));
    }
    code.textContent = `<iframe src="${location.origin}${location.pathname}?${query}" title="${source} ${index}" style="width: 100%; height: 540px"></iframe>`;
  }
  write();
  return h('details', { class: 'embed' }, h('summary', {}, 'Embed'), h('div', { class: 'boxes' }, boxes), code);
}
