// The pages of sources and features in headless Chromium, served by the real program, which indexes
// the first 50,000 tokens of the demo's corpus by itself.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { launch, newPage, settled } from './browser.mjs';
import { run, test } from './check.mjs';
import { D_SAE, MODEL, SOURCE } from './demo.mjs';
import { startServer } from './server.mjs';
import { accessible, fits, forAxe, site, tabTo } from './site.mjs';

const INDEX_MS = 240000; // on a machine that is busy with other tests
const FIRST_PAINT_MS = 200;
const SLACK_MS = 1000; // the machine may be busy with other tests
const TEXT = 'Is there anything that you want?';
const FEATURE = 140; // fires on " there"

const server = await startServer();
const browser = await launch();
const { ask, at } = site(server, browser);

const row = (index = FEATURE, source = SOURCE) => ask(`/api/feature/${MODEL}/${source}/${index}`);
const page = (index = FEATURE, source = SOURCE) => `/${MODEL}/${source}/${index}`;

const ready = (tab) => tab.locator('main[data-ready]').waitFor();
const rows = (tab) => tab.locator('.activations .row');
const testValue = (tab) => tab.locator('#testvalue').getAttribute('data-value');

/** Until the demo has been indexed and its SAEs are evaluated. */
async function indexed() {
  const began = Date.now();
  for (;;) {
    const { jobs } = await ask('/api/index');
    if (jobs.some(({ state, request }) => state === 'done' && request.corpus === 'demo')) return;
    assert.ok(Date.now() - began < INDEX_MS, `the index is not done: ${JSON.stringify(jobs)}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

test('browse: the demo indexes itself while the site works, and the page says so', async () => {
  const seen = await newPage(browser);
  await seen.goto(server.base);
  await settled(seen);
  await indexed();
  assert.deepEqual(seen.problems, []);
  await seen.context().close();
});

test('browse: a running index is shown with its speed and the command for the rest', async () => {
  const tab = await newPage(browser);
  let done = false, measuring = false;
  const evaluation = { phase: 'evaluation', evaluated: 4000, ofEvaluated: 10000, secondsLeft: 8.6 };
  await tab.route('**/api/index', (route) => route.fulfill({ json: { jobs: [{
    id: 1, state: done ? 'done' : 'running', request: { corpus: 'demo' },
    progress: { phase: 'activations', tokens: 20000, totalTokens: 50000, tokensPerSecond: 1234.5, secondsLeft: 24.3, ...(measuring ? evaluation : {}) },
  }] } }));
  await tab.goto(server.base + page());
  const line = tab.locator('.indexing');
  await line.filter({ hasText: '20,000 of 50,000 tokens · 1,235 tokens/s · 25 s left' }).waitFor();
  assert.equal(await line.locator('code').textContent(), './darkmatter index');
  assert.equal(await line.locator('progress').getAttribute('value'), '20000');
  measuring = true;
  await line.filter({ hasText: 'Measuring what the SAEs leave unexplained: 4,000 of 10,000 tokens · 9 s left' }).waitFor();
  assert.equal(await line.locator('progress').getAttribute('value'), '4000');
  done = true;
  await line.filter({ hasText: '20,000 tokens are indexed' }).waitFor();
  await line.getByRole('button', { name: 'Hide' }).click();
  assert.equal(await line.count(), 0);
  await tab.context().close();
});

test('browse: find a feature by word, open it, see what the API says of it', async () => {
  await at('/', {}, async (tab) => {
    await settled(tab);
    await tab.locator('#q').fill('there');
    await tab.locator('#q').press('Enter');
    const hits = tab.locator('.found > li');
    await hits.first().waitFor();
    await hits.locator('a.text').first().click();
    await ready(tab);
    const [, , source, index] = new URL(tab.url()).pathname.split('/');
    const feature = await row(index, source);
    assert.match(JSON.stringify([feature.label, feature.explanations]), /there/i);
    assert.equal(await tab.locator('#density').textContent(), `Activations Density ${(100 * feature.frac_nonzero).toFixed(3)}%`);
    const values = await tab.locator('.logits .value').allTextContents();
    assert.deepEqual(values, [...feature.neg_values, ...feature.pos_values].map((value) => value.toFixed(2)));
    assert.equal(await tab.locator('.hist').first().locator('[data-bar]').count(), 50);
  });
});

test('browse: activations stand in intervals, cut, whole or aligned, with tooltips', async () => {
  await at(page(), {}, async (tab) => {
    await ready(tab);
    const feature = await row();
    const bands = await tab.locator('.band').allTextContents();
    assert.equal(bands[0], 'Top activations');
    assert.match(bands[1], /^Interval \d+\.\d{3} – \d+\.\d{3} contains \d+\.\d{3}% of tokens$/);
    const highest = tab.locator('.activations .row').first();
    assert.equal(await highest.locator('.value').textContent(), feature.maxActApprox.toFixed(2));
    const cells = highest.locator('.tok');
    const cut = await cells.count();
    await highest.click();
    assert.equal(await highest.locator('.lead').getAttribute('aria-expanded'), 'true');
    const all = feature.activations[0].tokens.length;
    assert.ok(cut < all);
    assert.equal(await cells.count(), all);
    const peak = highest.locator('.tok.peak');
    await peak.hover();
    await tab.locator('.tip', { hasText: `Feature Activation +${feature.maxActApprox.toFixed(4)}` }).waitFor();
    await tab.locator('[data-mode="stacked"]').click();
    assert.ok((await highest.locator('.tok').count()) <= 9);
    const lefts = await tab.locator('.activations .tok.peak').evaluateAll((found) => found.slice(0, 5).map((one) => Math.round(one.parentElement.getBoundingClientRect().left / 100)));
    assert.ok(Math.max(...lefts) - Math.min(...lefts) <= 1, String(lefts));
    assert.match(tab.url(), /view=stacked/);
    await tab.locator('[data-mode="full"]').click();
    assert.equal(await highest.locator('.tok').count(), all);
    const breaks = () => tab.locator('.activations br').count();
    const shown = await breaks();
    await tab.locator('#breaks').click();
    assert.equal(await breaks(), 0);
    assert.match(tab.url(), /breaks=hide/);
    await tab.locator('#breaks').click();
    assert.equal(await breaks(), shown);
    if (await tab.locator('#duplicates').isVisible()) {
      const before = await rows(tab).count();
      const [hidden] = /\d+/.exec(await tab.locator('#duplicates').textContent());
      await tab.locator('#duplicates').click();
      assert.equal(await rows(tab).count(), before + Number(hidden));
    }
  });
});

test('browse: test a text, share the link, follow a neighbour', async () => {
  await at(page(), {}, async (tab) => {
    await ready(tab);
    await tab.locator('#test').fill(TEXT);
    await tab.locator('#test').press('Enter');
    await tab.locator('#testvalue').waitFor();
    const { maxValue } = await ask('/api/activation/new', { feature: { modelId: MODEL, source: SOURCE, index: String(FEATURE) }, customText: TEXT, ignoreBos: true });
    assert.equal(Number(await testValue(tab)), maxValue);
    assert.ok(maxValue > 0);
    assert.equal(await tab.locator('.hist .marker').first().getAttribute('visibility'), 'visible');
    const url = tab.url();
    assert.match(url, /defaulttesttext=/);
    await at(url.slice(server.base.length), {}, async (other) => {
      await other.locator('#testvalue').waitFor();
      assert.equal(Number(await testValue(other)), maxValue);
      assert.equal(await other.locator('#test').inputValue(), TEXT);
    });
    await tab.locator('.result button', { hasText: 'Reset' }).click();
    assert.doesNotMatch(tab.url(), /defaulttesttext/);
    const near = tab.locator('.near').first();
    await near.waitFor();
    const index = await near.locator('.index').textContent();
    await near.click();
    await tab.waitForURL(new RegExp(`/${index}$`));
    await ready(tab);
    assert.equal(await tab.locator('h1 .number').textContent(), index);
  });
});

test('browse: previous, next, jump and random', async () => {
  await at(page(0), {}, async (tab) => {
    await ready(tab);
    assert.equal(await tab.locator('#previous').getAttribute('href'), null);
    await tab.keyboard.press(']');
    await tab.waitForURL(/\/1$/);
    await ready(tab);
    await tab.locator('#jump').fill(String(D_SAE - 1));
    await tab.locator('#jump').press('Enter');
    await tab.waitForURL(new RegExp(`/${D_SAE - 1}$`));
    await ready(tab);
    assert.equal(await tab.locator('#next').getAttribute('href'), null);
    await tab.locator('#random').click();
    await tab.waitForURL((url) => !url.pathname.endsWith(`/${D_SAE - 1}`));
    await ready(tab);
  });
});

test('browse: an explanation of one’s own is added, found by search, changed and removed', async () => {
  const words = `quokka weather ${Date.now()}`;
  await at(page(77), {}, async (tab) => {
    await ready(tab);
    await tab.locator('#explain').click();
    await tab.locator('#explanation').fill(words);
    await tab.locator('#explanation').press('Enter');
    await tab.locator('.explanations .text', { hasText: words }).waitFor();
    assert.equal(await tab.locator('h1 .means').textContent(), words);
    await tab.locator('#q').fill('quokka weather');
    await tab.locator('#q').press('Enter');
    await tab.locator('.found a.text', { hasText: words }).click();
    await ready(tab);
    assert.match(tab.url(), /\/77$/);
    await tab.getByRole('button', { name: 'Edit' }).click();
    await tab.locator('#explanation').fill(`${words} indeed`);
    await tab.locator('.write .primary').click();
    await tab.locator('.explanations .text', { hasText: 'indeed' }).waitFor();
    await tab.getByRole('button', { name: 'Delete' }).click();
    await tab.locator('.explanations .text').waitFor({ state: 'detached' });
    assert.equal((await row(77)).explanations.length, 0);
  });
});

test('browse: a source’s table sorts, filters, pages and keeps all of it in the address', async () => {
  await at(`/${MODEL}/${SOURCE}`, {}, async (tab) => {
    const listed = (state) => tab.waitForFunction((wanted) => document.querySelector('[data-shown]')?.dataset.shown === wanted, JSON.stringify(state));
    const first = () => tab.locator('.listing tbody tr').first().getAttribute('data-index');
    await listed(['index', 'asc', 'all', '', 0]);
    await tab.locator('[data-sort="max"]').click();
    await listed(['max', 'desc', 'all', '', 0]);
    const expected = await ask('/api/source/features', { modelId: MODEL, source: SOURCE, sort: 'max', order: 'desc', limit: 1 });
    assert.equal(await first(), String(expected.features[0].index));
    assert.equal(await tab.locator('th[aria-sort="descending"]').textContent(), 'Maximum');
    await tab.locator('#later').click();
    await listed(['max', 'desc', 'all', '', 50]);
    assert.match(await tab.locator('#range').textContent(), /^51–100 of 2,048$/);
    const here = await first();
    const other = await newPage(browser);
    await other.goto(tab.url());
    await other.locator(`.listing tbody tr[data-index="${here}"]`).waitFor();
    await other.context().close();
    await tab.locator('#within').fill('there');
    await listed(['max', 'desc', 'all', 'there', 0]);
    assert.match(await tab.locator('.listing tbody').textContent(), /there/i);
    await tab.locator('#within').fill('');
    await listed(['max', 'desc', 'all', '', 0]);
    await tab.locator('#filter').selectOption('dead');
    await listed(['max', 'desc', 'dead', '', 0]);
    const { dead } = await ask(`/api/source/${MODEL}/${SOURCE}`);
    assert.equal(await tab.locator('.listing tbody tr').count(), Math.min(50, dead));
  });
});

test('browse: the picture of all features is pointed at, dragged, zoomed and opened', async () => {
  await at(`/${MODEL}/${SOURCE}`, {}, async (tab) => {
    await tab.locator('canvas[data-drawn]').waitFor();
    const { alive } = await ask(`/api/source/${MODEL}/${SOURCE}`);
    assert.equal(await tab.locator('canvas').getAttribute('data-drawn'), String(alive));
    const listed = await ask('/api/source/features', { modelId: MODEL, source: SOURCE, sort: 'density', order: 'desc', limit: 1 });
    const index = Number(listed.features[0].index); // the rightmost dot stands alone
    const where = () => tab.evaluate((wanted) => document.querySelector('main').where(wanted), index);
    const box = await tab.locator('canvas').boundingBox();
    const dot = await where();
    await tab.mouse.move(box.x + dot.x, box.y + dot.y);
    await tab.locator(`#pointed[data-index="${index}"]`, { hasText: `density ${(100 * listed.features[0].frac_nonzero).toFixed(3)}%` }).waitFor();
    await tab.getByRole('button', { name: 'Zoom in' }).click();
    await tab.waitForFunction(([wanted, x]) => Math.abs(document.querySelector('main').where(wanted).x - x) > 5, [index, dot.x]);
    await tab.getByRole('button', { name: 'Show all' }).click();
    await tab.mouse.move(box.x + 500, box.y + 350);
    await tab.mouse.down();
    await tab.mouse.move(box.x + 400, box.y + 330, { steps: 4 });
    await tab.mouse.up();
    const moved = await where();
    assert.ok(Math.abs(moved.x - (dot.x - 100)) < 2 && Math.abs(moved.y - (dot.y - 20)) < 2, JSON.stringify([dot, moved]));
    await tab.mouse.click(box.x + moved.x, box.y + moved.y);
    await tab.waitForURL(new RegExp(`/${index}$`));
    await ready(tab);
  });
});

const program = process.env.DARKMATTER ?? './darkmatter';

test('browse: an imported dashboard beside the own one, with its origin', async () => {
  const names = { modelId: MODEL, layer: SOURCE, index: String(FEATURE) };
  const lines = [{ ...names, maxActApprox: 77, frac_nonzero: 0.00238, pos_str: ['imported'], pos_values: [9], neg_str: ['other'], neg_values: [-8] },
    { ...names, id: 'e2e-1', tokens: ['from', ' a', ' file'], values: [0, 0, 77], maxValue: 77, maxValueTokenIndex: 2, binMin: -1, binMax: 77, binContains: -1 }];
  execFileSync(program, ['import', '--db', server.db, '-'], { input: lines.map((line) => `${JSON.stringify(line)}\n`).join('') });
  await at(page(), {}, async (tab) => {
    await ready(tab);
    const first = await tab.locator('#density').textContent();
    assert.equal(await tab.locator('[data-origin="here"]').getAttribute('aria-pressed'), 'true');
    await tab.locator('[data-origin="imported"]').click();
    assert.equal(await tab.locator('#density').textContent(), 'Activations Density 0.238%');
    assert.equal(await rows(tab).count(), 1);
    assert.match(await rows(tab).first().textContent(), /file.*77/);
    await at(tab.url().slice(server.base.length), {}, async (other) => { // the address says which
      await ready(other);
      assert.equal(await other.locator('#density').textContent(), 'Activations Density 0.238%');
    });
    await tab.locator('[data-origin="here"]').click();
    assert.equal(await tab.locator('#density').textContent(), first);
  });
});

test('browse: a token is looked for in all sources with one request', async () => {
  await at(`/search?${new URLSearchParams({ q: ' there', in: 'fires' })}`, {}, async (tab) => {
    await tab.locator('.found > li').first().waitFor();
    const found = new Set(await tab.locator('.found > li').evaluateAll((all) => all.map(({ dataset }) => dataset.source)));
    assert.ok(found.size > 1, [...found].join());
    const asked = await tab.evaluate(() => performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/api/search-token')).length);
    assert.equal(asked, 1);
  });
});

test('browse: features that fire on a token, and that promote it', async () => {
  await at(`/search?${new URLSearchParams({ q: ' there', in: 'fires', source: SOURCE })}`, {}, async (tab) => {
    await tab.locator('.found > li').first().waitFor();
    const fires = await ask('/api/search-token', { modelId: MODEL, source: SOURCE, token: ' there', mode: 'fires', limit: 100 });
    const shown = () => tab.locator('.found > li').evaluateAll((all) => all.map(({ dataset }) => dataset.index));
    assert.deepEqual(await shown(), fires.results.map(({ index }) => String(index)));
    await tab.locator('[data-kind="promotes"]').click();
    await tab.locator('.found .by', { hasText: 'logit' }).first().waitFor();
    const promotes = await ask('/api/search-token', { modelId: MODEL, source: SOURCE, token: ' there', mode: 'promotes', limit: 100 });
    assert.deepEqual(await shown(), promotes.results.map(({ index }) => String(index)));
    await tab.goBack();
    await tab.locator('.found .by', { hasText: 'among its tokens' }).first().waitFor();
  });
});

const compared = `/compare?${new URLSearchParams({ features: JSON.stringify([
  { modelId: MODEL, layer: SOURCE, index: String(FEATURE) }, { modelId: MODEL, layer: '3-gemmascope-res-2k', index: '156' }]) })}`;

test('browse: features side by side: added, tested, removed', async () => {
  await at(compared, {}, async (tab) => {
    const sides = tab.locator('.side');
    await sides.nth(1).waitFor();
    await tab.locator('#add-source option').first().waitFor({ state: 'attached' });
    await tab.locator('#add-index').fill('300');
    await tab.locator('#add-index').press('Enter');
    await sides.nth(2).waitFor();
    await tab.locator('#testall').fill(TEXT);
    await tab.locator('#testall').press('Enter');
    await tab.locator('.tested .tok').first().waitFor();
    await tab.waitForFunction(() => document.querySelectorAll('.tested .passage').length === 3);
    const url = tab.url();
    await at(url.slice(server.base.length), {}, async (other) => {
      await other.waitForFunction(() => document.querySelectorAll('.tested .passage').length === 3);
    });
    await tab.getByRole('button', { name: `Remove feature ${FEATURE}` }).click();
    await tab.waitForFunction(() => document.querySelectorAll('.side').length === 2);
  });
});

test('browse: a feature that never fired says so; one of a source without an index says what to do', async () => {
  const feature = await row();
  const tab = await newPage(browser);
  const answer = (change) => tab.route('**/api/feature/**', (route) => route.fulfill({ json: { ...feature, ...change } }));
  await answer({ maxActApprox: 0, frac_nonzero: 0, count: 0, activations: [], freq_hist_data_bar_heights: [], freq_hist_data_bar_values: [] });
  await tab.goto(server.base + page());
  await tab.locator('#dead').waitFor();
  assert.equal(await tab.locator('.logits').count(), 0);
  await tab.getByRole('button', { name: 'Show anyway' }).click();
  assert.equal(await tab.locator('.logits').count(), 2);
  await tab.locator('.activations', { hasText: 'No Known Activations' }).waitFor();
  await tab.unrouteAll();
  await answer({ indexed: false, maxActApprox: null, activations: [] });
  await tab.reload();
  await tab.locator('#notindexed', { hasText: `./darkmatter index --source ${SOURCE}` }).waitFor();
  assert.deepEqual(tab.problems, []);
  await tab.context().close();
  await at(page(99999), {}, async (other) => {
    await other.locator('.notice', { hasText: '99999' }).waitFor();
  });
});

test('browse: what is embedded is what the parameters say', async () => {
  await at(`${page()}?embed=true&embedexplanation=false&embedplots=true&embedtest=false&embedactivations=true&embedlink=true`, {}, async (tab) => {
    await tab.locator('.activations').waitFor();
    for (const gone of ['.top', '.bottom', '.headline', '#explanations', '.tester', '#nearest']) {
      assert.equal(await tab.locator(gone).isVisible(), false, gone);
    }
    assert.equal(await tab.locator('.stats').isVisible(), true);
    assert.equal(await tab.locator('.embedlink').isVisible(), true);
  });
  await at(`${page()}?embed=true&embedtestfield=false&embedactivations=false&defaulttesttext=${encodeURIComponent(TEXT)}`, {}, async (tab) => {
    await tab.locator('#testvalue').waitFor();
    assert.equal(await tab.locator('#test').isVisible(), false);
    assert.equal(await tab.locator('.activations').count(), 0);
  });
});

test('browse: from the lab to a feature’s page and, with the text, back', async () => {
  await at(`/?${new URLSearchParams({ text: TEXT, source: SOURCE, feature: String(FEATURE) })}`, {}, async (tab) => {
    await settled(tab);
    await tab.locator('#page').click();
    await tab.waitForURL(new RegExp(`${page()}$`));
    await ready(tab);
    await tab.locator('#test').fill(TEXT);
    await tab.locator('#test').press('Enter');
    await tab.locator('.result a', { hasText: 'TopK' }).click();
    await settled(tab);
    assert.equal(await tab.locator('#text').inputValue(), TEXT);
    const number = tab.locator('.features a.index').first();
    assert.equal(await number.getAttribute('href'), page(await number.textContent()));
  });
});

test('browse: the lab leaves out features that are too dense, and says so in its address', async () => {
  await at(`/?${new URLSearchParams({ text: TEXT, source: SOURCE, sort: '2,5' })}`, {}, async (tab) => {
    await settled(tab);
    const list = tab.locator('ol[aria-label="Strongest features of the text"] button');
    const limit = 0.01;
    const { result } = await ask('/api/search-all', { modelId: MODEL, sourceSet: 'gemmascope-res-2k', text: TEXT, selectedLayers: [SOURCE],
      sortIndexes: [2, 5], ignoreBos: true, densityThreshold: limit, numResults: 20 });
    await tab.locator('#density').selectOption(String(limit));
    await tab.waitForFunction((first) => document.querySelector('.feature.wide')?.title.includes('density') && document.querySelector('.feature.wide').dataset.feature === first, result[0].index);
    assert.deepEqual(await list.evaluateAll((all) => all.map(({ dataset }) => dataset.feature)), result.map(({ index }) => index));
    const densities = await list.evaluateAll((all) => all.map(({ title }) => Number(/density ([\d.]+)%/.exec(title)[1])));
    assert.ok(Math.max(...densities) <= 100 * limit, String(densities));
    await tab.reload();
    await settled(tab);
    assert.equal(await tab.locator('#density').inputValue(), String(limit));
  });
});

test('browse: a source’s report is there after the first start; where there is none, the page says how to make it', async () => {
  const report = `/${MODEL}/${SOURCE}/report`;
  await indexed();
  const { sources } = await ask('/v1/capabilities');
  for (const source of sources) {
    const { evaluations } = await ask(`/api/source/${MODEL}/${source}/evaluation`);
    assert.ok(evaluations.length === 1 && evaluations[0].report.finished, source);
  }
  const none = await newPage(browser);
  await none.route('**/evaluation', (route) => route.fulfill({ json: { evaluations: [] } }));
  await none.goto(server.base + report);
  await none.locator('#notevaluated', { hasText: `./darkmatter evaluate --source ${SOURCE}` }).waitFor();
  await none.context().close();
  const { evaluations: [{ report: found }] } = await ask(`/api/source/${MODEL}/${SOURCE}/evaluation`);
  await at(report, { viewport: { width: 400, height: 900 } }, async (tab) => {
    await ready(tab);
    const figure = (name) => tab.locator('.figure', { has: tab.locator('dt', { hasText: name }) }).locator('dd').getAttribute('data-value');
    assert.equal(await figure('FVU'), String(found.figures.fvu));
    assert.equal(await figure('L0'), String(found.figures.l0));
    await tab.locator('.meanings summary').click();
    await tab.locator('.meanings li', { hasText: 'L0: features that fire' }).waitFor();
    assert.ok(await tab.locator('section[aria-labelledby="errors"] .against').count() > 5);
    const listed = tab.locator('section[aria-labelledby="heavy"] tbody tr');
    assert.equal(Number(await listed.first().getAttribute('data-id')), found.heaviestTokens[0].id);
    await tab.locator('section[aria-labelledby="heavy"]').getByRole('button').click();
    assert.equal(await listed.count(), found.heaviestTokens.length);
    for (const [id, votes] of [['promoted', found.errorVotes.promoted], ['suppressed', found.errorVotes.suppressed]]) {
      const first = tab.locator(`section[aria-labelledby="${id}"] tbody tr`).first();
      assert.equal(Number(await first.getAttribute('data-id')), votes[0].id);
      assert.equal(await first.locator('.number').getAttribute('data-value'), String(votes[0].logit));
    }
    await fits(tab, 'the report');
  });
  for (const colorScheme of ['light', 'dark']) await at(report, forAxe(colorScheme, 1280), async (tab) => {
    await ready(tab);
    await accessible(tab, 'the report');
  });
});

test('browse: a model’s page lists its sources and its neurons, and says what words and colours mean', async () => {
  await indexed();
  await at('/', {}, async (tab) => {
    await settled(tab);
    await tab.locator('#glossary').click();
    await tab.locator('.colours li').first().waitFor();
    assert.ok((await tab.locator('.glossary dt').allTextContents()).includes('Source'));
    const line = tab.locator(`[data-source="${SOURCE}"]`);
    const { alive, tokens } = await ask(`/api/source/${MODEL}/${SOURCE}`);
    await line.locator('td', { hasText: tokens.toLocaleString('en-US') }).waitFor();
    assert.equal(await line.locator('td').nth(3).textContent(), alive.toLocaleString('en-US'));
    await tab.locator('.neurons summary').click();
    await tab.locator('[data-source="3-mlp_out"] td', { hasText: 'not indexed' }).waitFor();
    assert.equal(await tab.locator('.neurons tbody tr').count(), 10);
    await tab.locator('[data-source="3-mlp_out"] a').click();
    await tab.locator('h1', { hasText: 'Layer 3 · MLP output' }).waitFor();
  });
});

const OUT = '2-mlp_out';

test('browse: neurons have pages of their own, their values below 0 in rose, light and dark', async () => {
  await indexed();
  execFileSync(program, ['index', '--db', server.db, '--source', '2', '--source', OUT, '--limit-tokens', '4000'], { stdio: 'ignore' });
  const one = await row(17, OUT);
  assert.ok(one.minActApprox < 0);
  for (const [colorScheme, width] of [['dark', 1280], ['light', 400]]) {
    await at(page(17, OUT), forAxe(colorScheme, width), async (tab) => {
      await ready(tab);
      assert.equal(await tab.locator('#density').textContent(), `Values from ${one.minActApprox.toFixed(2)} to ${one.maxActApprox.toFixed(2)}`);
      assert.equal(await tab.locator('.band').last().textContent(), 'Lowest values');
      const lowest = rows(tab).last();
      assert.ok(Number(await lowest.locator('.lead .value').textContent()) < 0);
      const colour = (place) => place.evaluate((element, part) => getComputedStyle(element)[part], 'color');
      assert.notEqual(await colour(lowest.locator('.lead .value')), await colour(rows(tab).first().locator('.lead .value')));
      // Every shown token: the sign of its value is the hue of its background, the largest values the strongest.
      const cells = await tab.locator('.activations .tok[data-value]').evaluateAll((all) => all.map((cell) => {
        const [r, g, , alpha = 1] = getComputedStyle(cell).backgroundColor.match(/[\d.]+/g).map(Number);
        return { value: Number(cell.dataset.value), rose: r > g, alpha };
      }));
      assert.ok(cells.some(({ value }) => value < 0));
      for (const { value, rose, alpha } of cells) assert.ok(alpha === 0 || rose === value < 0, JSON.stringify({ value, rose, alpha }));
      const strongest = cells.reduce((a, b) => (b.value < a.value ? b : a));
      assert.ok(strongest.alpha > 0.8, JSON.stringify(strongest));
      assert.ok(await tab.locator('.plots .hist').first().locator('.against').count() > 5);
      for (const gone of ['#steer', '#nearest', '#vector']) assert.equal(await tab.locator(gone).count(), 0, gone);
      await tab.locator('#test').fill(TEXT);
      await tab.locator('#test').press('Enter');
      const { minValue } = await ask('/api/activation/new', { feature: { modelId: MODEL, source: OUT, index: '17' }, customText: TEXT, ignoreBos: true });
      await tab.locator('#testlowest').waitFor();
      assert.equal(Number(await tab.locator('#testlowest').getAttribute('data-value')), minValue);
      await accessible(tab, `a neuron, ${colorScheme}, ${width}`);
      await fits(tab, 'a neuron');
    });
    await at(`/${MODEL}/2?sort=max&order=desc`, forAxe(colorScheme, width), async (tab) => {
      await tab.locator('[data-shown]').waitFor();
      assert.equal(await tab.locator('h1').textContent(), 'Layer 2 · MLP neurons');
      assert.equal(await tab.locator('.cloud, [data-sort="density"]').count(), 0);
      assert.equal(await tab.locator('.listing tbody tr').first().locator('td').count(), 3);
      await accessible(tab, `neurons, ${colorScheme}, ${width}`);
      await fits(tab, 'neurons');
    });
  }
});

test('browse: from interval to interval, and the vector as a file', async () => {
  await at(page(), {}, async (tab) => {
    await ready(tab);
    const jumps = tab.locator('.bands button');
    assert.equal(await jumps.count(), await tab.locator('.band').count());
    await jumps.last().click();
    const top = () => tab.evaluate(() => document.activeElement.closest('.row').getBoundingClientRect().top);
    assert.ok(await top() < 700);
    assert.ok(await tab.evaluate(() => scrollY) > 500);
    const [file] = await Promise.all([tab.waitForEvent('download'), tab.locator('#vector').click()]);
    assert.equal(file.suggestedFilename(), `${MODEL}_${SOURCE}_${FEATURE}.json`);
    const { vector } = JSON.parse(readFileSync(await file.path()));
    assert.deepEqual(vector, (await ask('/api/vector/get', { modelId: MODEL, source: SOURCE, index: String(FEATURE) })).vector);
  });
});

test('browse: everything works with the keyboard alone', async () => {
  await at(`/${MODEL}/${SOURCE}`, {}, async (tab) => {
    await tab.locator('[data-shown]').waitFor();
    await tab.keyboard.press('/');
    await tab.keyboard.type('there');
    await tab.keyboard.press('Enter');
    await tab.locator('.found > li').first().waitFor();
    const focused = () => tab.evaluate(() => document.activeElement.className);
    await tabTo(tab, '.found a.text');
    await tab.keyboard.press('Enter');
    await ready(tab);
    await tabTo(tab, '.hist');
    await tab.keyboard.press('ArrowRight');
    await tab.locator('.said', { hasText: / tokens?$/ }).waitFor();
    await tabTo(tab, '.lead');
    await tab.keyboard.press('ArrowDown');
    await tab.keyboard.press('Enter');
    assert.equal(await tab.evaluate(() => document.activeElement.getAttribute('aria-expanded')), 'true');
    await tab.keyboard.press('ArrowRight');
    assert.match(await focused(), /tok/);
    assert.match(await tab.evaluate(() => document.activeElement.getAttribute('aria-label')), /, position \d+, activation \+\d/);
    await tab.locator('.tip:not([hidden])').waitFor();
    await tab.keyboard.press('t');
    await tab.locator('#testvalue').waitFor();
    await tab.evaluate(() => document.activeElement.blur());
    await tab.keyboard.press('e');
    await tab.locator('#explanation:focus').waitFor();
    await tab.keyboard.press('Escape');
    await tab.locator('#explain:focus').waitFor();
  });
});

const everywhere = {
  feature: `${page()}?defaulttesttext=${encodeURIComponent(`${TEXT} ${'a'.repeat(120)}`)}`, whole: `${page()}?view=full`, aligned: `${page()}?view=stacked`,
  source: `/${MODEL}/${SOURCE}`, words: '/search?q=there', token: `/search?q=${encodeURIComponent(' there')}&in=promotes`, compare: compared, model: `/${MODEL}`,
  embed: `${page()}?embed=true`, none: '/nothing/here/at/all',
};
/** Waits until nothing is asked for any more. */
const quiet = (tab) => tab.waitForLoadState('networkidle');

test('browse: axe finds nothing serious, light and wide, dark and narrow; nothing scrolls sideways at 400 pixels', async () => {
  await indexed();
  for (const [colorScheme, width] of [['light', 1280], ['dark', 400]]) {
    for (const [name, path] of Object.entries(everywhere)) {
      if (name === 'none') continue;
      await at(path, forAxe(colorScheme, width), async (tab) => {
        await quiet(tab);
        await accessible(tab, `${name}, ${colorScheme}, ${width}`);
        await fits(tab, `${name}, ${width}`);
      });
    }
  }
});

test('browse: a warm server’s pages are painted quickly', async () => {
  const measure = async (path, mark) => {
    const times = [];
    for (let i = 0; i < 3; i++) {
      await at(path, {}, async (tab) => {
        await quiet(tab);
        times.push(await tab.evaluate((name) => ({
          paint: performance.getEntriesByName('first-contentful-paint')[0].startTime,
          drawn: name ? performance.getEntriesByName(name)[0].startTime : 0,
        }), mark));
      });
    }
    return { paint: Math.min(...times.map(({ paint }) => paint)), drawn: Math.min(...times.map(({ drawn }) => drawn)) };
  };
  const feature = await measure(page(), 'feature-drawn');
  const source = await measure(`/${MODEL}/${SOURCE}`, null);
  console.log(`        feature: first paint ${feature.paint.toFixed(0)} ms, everything drawn ${feature.drawn.toFixed(0)} ms; `
    + `source: first paint ${source.paint.toFixed(0)} ms (aim: ${FIRST_PAINT_MS} ms)`);
  assert.ok(feature.paint < FIRST_PAINT_MS + SLACK_MS && feature.drawn < FIRST_PAINT_MS + SLACK_MS, JSON.stringify(feature));
  assert.ok(source.paint < FIRST_PAINT_MS + SLACK_MS, JSON.stringify(source));
});

test('browse: early.js asks for what a feature’s page imports, and for nothing else', async () => {
  const lists = readFileSync(new URL('../../static/early.js', import.meta.url), 'utf8').match(/= \[[^\]]*\]/g).join();
  const named = lists.match(/\w+(?=')/g);
  await at(page(), {}, async (tab) => {
    await quiet(tab);
    const loaded = await tab.evaluate(() => performance.getEntriesByType('resource').map(({ name }) => new URL(name).pathname).filter((name) => name.endsWith('.js')));
    const modules = new Set(loaded.map((name) => name.slice(1, -3)).filter((name) => !['app', 'theme', 'early'].includes(name)));
    assert.deepEqual(named.sort(), [...modules].sort());
  });
});

try {
  await run();
} finally {
  await browser.close();
  await server.stop();
}
