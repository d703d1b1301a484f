// A model's page: its sources, and how far each of them has been indexed.
import { request } from './api.js';
import { h } from './dom.js';
import { count } from './format.js';
import { sourcePath } from './paths.js';

export async function openModel(main, frame, { model }) {
  frame.keys([['/', 'search']]);
  frame.searchKey();
  frame.title(model);
  const rows = h('tbody');
  const said = h('p', { class: 'totals' }, '\u00a0');
  main.replaceChildren(h('div', { class: 'headline' }, h('h1', {}, model), said),
    h('table', { class: 'listing sources' }, h('thead', {}, h('tr', {},
      h('th', { scope: 'col' }, 'Source'), h('th', { scope: 'col', class: 'count' }, 'Name'),
      h('th', { scope: 'col', class: 'number' }, 'Fired'), h('th', { scope: 'col', class: 'number' }, 'Tokens'))), rows));
  try {
    const known = await frame.fill();
    if (known.model !== model) {
      said.textContent = `This server has ${known.model}, not ${model}.`;
      return;
    }
    const { catalogue } = known;
    said.textContent = `${known.num_layers} layers · ${known.hidden_size} wide · ${count(known.vocab_size)} tokens in the vocabulary · ${catalogue.length} sources`;
    rows.replaceChildren(...catalogue.map((one) => h('tr', {},
      h('td', {}, h('a', { href: sourcePath(model, one.name) }, one.label)), h('td', { class: 'label count' }, one.name),
      h('td', { class: 'number' }, '–'), h('td', { class: 'number' }, '–'))));
    await Promise.all(catalogue.map(async (one, i) => {
      const { data } = await request(`/api/source/${encodeURIComponent(model)}/${encodeURIComponent(one.name)}`);
      const [, , alive, tokens] = rows.children[i].children;
      alive.textContent = data.indexed ? count(data.alive) : '–';
      tokens.textContent = data.indexed ? count(data.tokens) : 'not indexed';
    }));
  } catch (error) {
    said.textContent = error.message;
  }
}
