// A text of one's own, coloured by the feature; the text lives in the address (?defaulttesttext=).
import { request } from './api.js';
import { h } from './dom.js';
import { short } from './format.js';
import { describe } from './sources.js';
import { passage, tokenWords } from './passage.js';
import { labPath, setQuery, steerPath } from './paths.js';
import { tips } from './tip.js';

const face = (token = '') => token.trim() || token;

/**
 * @param feature {model, source, index, maximum, minimum}
 * @param field false: the text is given, there is nothing to type (an embed)
 * @param onValue called with the maximum on the text, or null
 */
export function testBox(feature, { field = true, onValue }) {
  const text = h('textarea', {
    id: 'test', rows: 1, spellcheck: 'false', autocomplete: 'off', placeholder: 'Test a text of your own',
    'aria-label': 'Text to test',
  });
  const button = h('button', { type: 'submit', class: 'primary' }, 'Test');
  const form = h('form', {
    class: 'prompt test', 'aria-label': 'Test the feature on a text', hidden: !field,
    onsubmit: (event) => {
      event.preventDefault();
      run(text.value);
    },
  }, text, button);
  const result = h('div', { class: 'result', id: 'result', hidden: true });
  const element = h('section', { 'aria-label': 'Test', class: 'tester' }, form, result);
  let current = null;
  const { dense } = describe(feature.source); // neurons are no SAE's: the lab and the sliders do not know them

  function grow() {
    text.style.height = 'auto';
    text.style.height = `${text.scrollHeight + 2}px`;
  }
  function reset() {
    current?.abort();
    text.value = '';
    grow();
    result.hidden = true;
    onValue(null);
    setQuery({ defaulttesttext: null });
    text.focus();
  }
  function share(event) {
    navigator.clipboard?.writeText(location.href).then(() => {
      event.target.textContent = 'Copied';
      setTimeout(() => { event.target.textContent = 'Share'; }, 1500);
    }, () => {});
  }

  function show({ tokens, values, maxValue, minValue, maxValueTokenIndex: at }) {
    const maximum = Math.max(feature.maximum, maxValue, -feature.minimum, -minValue);
    const row = { tokens, values, at };
    const shown = passage(row, { maximum, breaks: true, label: 'Your text' });
    tips(shown, '.tok', (cell) => tokenWords(cell, tokens));
    shown.addEventListener('keydown', (event) => {
      const cells = [...shown.querySelectorAll('.tok')];
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      cells[cells.indexOf(event.target) + step]?.focus();
    });
    const first = shown.querySelector('.tok.peak') ?? shown.querySelector('.tok');
    if (first) first.tabIndex = 0;
    const silent = !(maxValue > 0) && !(minValue < 0);
    result.replaceChildren(
      h('div', { class: 'row' },
        h('div', { class: 'lead' },
          h('span', { class: 'peaktoken' }, silent ? 'silent' : face(tokens[at])),
          h('span', { class: maxValue < 0 ? 'value below' : 'value', id: 'testvalue', 'data-value': String(maxValue) }, short(maxValue)),
          minValue < 0 ? [h('span', { class: 'peaktoken' }, face(tokens[values.indexOf(minValue)])),
            h('span', { class: 'value below', id: 'testlowest', 'data-value': String(minValue) }, short(minValue))] : []),
        shown),
      h('p', { class: 'actions' },
        silent ? h('span', { class: 'muted' }, 'The feature is 0 on every token of this text.') : '',
        h('button', { type: 'button', class: 'plain', onclick: reset, hidden: !field }, 'Reset'),
        dense ? '' : [h('a', { class: 'plain', href: labPath({ source: feature.source, feature: feature.index, text: text.value }), title: 'All features of this text, in the lab' }, 'TopK'),
          h('a', { class: 'plain', href: steerPath([feature], { text: text.value }) }, 'Steer')],
        h('button', { type: 'button', class: 'plain', onclick: share }, 'Share')));
    onValue(silent ? null : maxValue);
  }

  async function run(words) {
    if (words === '') return text.focus();
    text.value = words;
    grow();
    setQuery({ defaulttesttext: words });
    current?.abort();
    current = new AbortController();
    button.textContent = 'Testing…';
    result.classList.add('stale');
    try {
      const { data } = await request('/api/activation/new', {
        feature: { modelId: feature.model, source: feature.source, index: String(feature.index) },
        customText: words, ignoreBos: true,
      }, { signal: current.signal });
      show(data);
    } catch (error) {
      if (error.name === 'AbortError') return;
      result.replaceChildren(h('div', { class: 'notice', role: 'alert' }, h('p', {}, error.message)));
      onValue(null);
    }
    result.hidden = false;
    result.classList.remove('stale');
    button.textContent = 'Test';
  }

  text.addEventListener('input', grow);
  text.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    run(text.value);
  });
  return { element, run, focus: () => text.focus() };
}
