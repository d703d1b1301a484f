// A model's page: its sources, how far each of them has been indexed, and what the words mean.
import { request } from './api.js';
import { h } from './dom.js';
import { count } from './format.js';
import { reportPath, sourcePath } from './paths.js';
import { describe, neuronNames } from './sources.js';
import { wordsPane } from './words.js';

const HEADS = [['Source'], ['Name', 'name'], ['Features', 'number'], ['Fired', 'number wide'], ['Tokens read', 'number'], ['Unexplained', 'number wide']];

const headsOf = (dense) => HEADS.filter(([, name]) => !dense || name !== 'number wide').map(([words, name]) => [dense && words === 'Features' ? 'Neurons' : words, name]);

function listing(heads, rows) {
  return h('table', { class: 'listing sources' }, h('thead', {}, h('tr', {}, heads.map(([words, name]) => h('th', { scope: 'col', class: name ?? null }, words)))), h('tbody', {}, rows));
}

/** A source's row: what is known at once, then what the index and the evaluation say. */
function row(model, one) {
  const cells = headsOf(one.dense).slice(2).map(([, name]) => h('td', { class: name }, '–'));
  const element = h('tr', { 'data-source': one.name }, h('td', {}, h('a', { href: sourcePath(model, one.name) }, one.label)), h('td', { class: 'name' }, one.name), cells);
  const [size, alive, tokens, unexplained] = one.dense ? [cells[0], null, cells[1], null] : cells;
  async function fill() {
    const path = `/api/source/${encodeURIComponent(model)}/${encodeURIComponent(one.name)}`;
    const [{ data }, evaluated] = await Promise.all([request(path), one.dense ? null : request(`${path}/evaluation`).catch(() => null)]);
    size.textContent = count(data.d_sae);
    if (!one.dense) alive.textContent = data.indexed ? count(data.alive) : '–';
    tokens.textContent = data.indexed ? count(data.tokens) : 'not indexed';
    const fvu = evaluated?.data.evaluations[0]?.report.figures.fvu;
    if (typeof fvu === 'number') unexplained.replaceChildren(h('a', { href: reportPath(model, one.name), title: 'FVU, from its report' }, `${(100 * fvu).toFixed(1)}%`));
    return data.indexed;
  }
  return { element, fill };
}

export async function openModel(main, frame, { model }) {
  frame.keys([['/', 'search']]);
  frame.searchKey();
  frame.title(model);
  const said = h('p', { class: 'totals' }, '\u00a0');
  const place = h('div', {});
  main.replaceChildren(h('div', { class: 'headline' }, h('h1', {}, model), said), place, wordsPane());
  try {
    const known = await frame.fill();
    if (known.model !== model) {
      said.textContent = `This server has ${known.model}, not ${model}.`;
      return;
    }
    const { catalogue } = known;
    said.textContent = `${known.num_layers} layers · ${known.hidden_size} wide · ${count(known.vocab_size)} tokens in the vocabulary · ${catalogue.length} sources`;
    const saes = catalogue.map((one) => row(model, one));
    const neurons = neuronNames(known.num_layers).map((name) => row(model, describe(name)));
    const others = h('details', { class: 'neurons' }, h('summary', {}, 'The model’s own neurons, layer by layer'), listing(headsOf(true), neurons.map(({ element }) => element)));
    place.replaceChildren(saes.length ? listing(headsOf(false), saes.map(({ element }) => element))
      : h('p', { class: 'muted' }, 'It is served without SAEs; --saes FOLDER adds some. Its own neurons can be browsed.'), others);
    let asked = null;
    const look = () => { asked ??= Promise.all(neurons.map(({ fill }) => fill())); };
    others.addEventListener('toggle', look);
    others.open = saes.length === 0;
    await Promise.all(saes.map(({ fill }) => fill()));
    await asked;
  } catch (error) {
    said.textContent = error.message;
  }
  if (location.hash === '#words') document.getElementById('words').scrollIntoView();
}
