// What people and language models say a feature means; one's own can be added, changed, removed.
import { request } from './api.js';
import { h } from './dom.js';
import { explanation } from './dashboard.js';

const origin = ({ type, by, here }) => (here ? 'yours' : [type, by].filter(Boolean).join(' · ') || 'imported');

export function explanationsPane(feature, { onChange }) {
  const list = h('ul', { class: 'explanations' });
  const problem = h('p', { class: 'notice', role: 'alert', hidden: true });
  const add = h('button', { type: 'button', class: 'plain', id: 'explain', onclick: () => edit(null) }, 'Add yours');
  const label = h('p', { class: 'autolabel', hidden: !feature.label },
    h('span', {}, feature.label), h('span', { class: 'by' }, 'automatic label: what it fires on, what it promotes'));
  const element = h('section', { 'aria-labelledby': 'explanations' },
    h('div', { class: 'head' }, h('h2', { id: 'explanations' }, 'Explanations'), add), problem, list, label);
  let editing = false;

  async function change(path, body, then) {
    problem.hidden = true;
    try {
      const { data } = await request(path, body);
      then(data);
      editing = false;
      draw();
      onChange();
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
  }
  function save(one, text) {
    if (one) {
      change('/api/explanation/edit', { id: one.id, description: text }, () => { one.text = text; });
    } else {
      change('/api/explanation/new', {
        modelId: feature.model, layer: feature.source, index: String(feature.index), description: text,
      }, (data) => feature.explanations.push({ ...explanation(data.explanation ?? data), text, here: true }));
    }
  }
  function remove(one) {
    change('/api/explanation/delete', { id: one.id }, () => {
      feature.explanations.splice(feature.explanations.indexOf(one), 1);
    });
  }

  /** The form in place of the explanation, or at the end for a new one. */
  function edit(one) {
    editing = true;
    draw();
    const field = h('textarea', {
      id: 'explanation', rows: 2, required: true, maxlength: 2000, 'aria-label': 'What makes this feature fire?',
      placeholder: 'What makes this feature fire?',
    });
    field.value = one?.text ?? '';
    const cancel = () => {
      editing = false;
      draw();
      add.focus();
    };
    const form = h('form', {
      class: 'write',
      onsubmit: (event) => {
        event.preventDefault();
        if (field.value.trim()) save(one, field.value.trim());
      },
    }, field, h('div', { class: 'actions' },
      h('button', { type: 'button', class: 'plain', onclick: cancel }, 'Cancel'),
      h('button', { type: 'submit', class: 'primary' }, 'Save')));
    form.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') cancel();
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    const item = h('li', {}, form);
    const old = one && list.children[feature.explanations.indexOf(one)];
    if (old) old.replaceWith(item);
    else list.append(item);
    field.focus();
  }

  function draw() {
    add.hidden = editing;
    list.replaceChildren(...feature.explanations.map((one) => h('li', {},
      h('p', { class: 'text' }, one.text),
      h('p', { class: 'by' }, origin(one),
        one.scores.map(({ name, value }) => h('span', { class: 'score', title: name }, String(Math.round(value * 100)))),
        one.here ? [h('button', { type: 'button', class: 'link', onclick: () => edit(one) }, 'Edit'),
          h('button', { type: 'button', class: 'link', onclick: () => remove(one) }, 'Delete')] : []))));
    if (!feature.explanations.length && !feature.label && !editing) {
      list.append(h('li', { class: 'muted' }, 'Nobody has explained it yet.'));
    }
  }
  draw();
  return element;
}
