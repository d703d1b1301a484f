// The prompt lab in headless Chromium, served by the real program on the demo.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { launch, newPage, settled } from './browser.mjs';
import { run, test } from './check.mjs';
import { MODEL, SOURCE, TEXT, TOKENS } from './demo.mjs';
import { startServer } from './server.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const FEATURE = 1508;

let server = await startServer();
const browser = await launch();

/** What curl gives. */
async function post(path, body) {
  const response = await fetch(server.base + path, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
  });
  assert.equal(response.status, 200);
  return response.json();
}
const single = async (text, source, feature) =>
  (await post('/v1/activation/single', { prompt: text, model: MODEL, source, index: String(feature) })).activation;

/** Opens the page in a fresh profile, runs the body, and fails on any error in the console. */
async function withPage(query, options, body) {
  const page = await newPage(browser, options);
  try {
    await page.goto(`${server.base}/?${new URLSearchParams(query)}`);
    await body(page);
    assert.deepEqual(page.problems, []);
  } finally {
    await page.context().close();
  }
}
async function type(page, text) {
  await page.locator('#text').fill(text);
  await page.locator('#text').press('Enter');
  await settled(page);
}
const token = (page, position) => page.locator(`.token[data-position="${position}"]`);
const shownValues = (page) => page.locator('.token:not(.bos)').evaluateAll((all) => all.map(({ dataset }) => Number(dataset.value)));
const message = (page) => page.locator('main > .notice:not([hidden])');
/** Waits until the tokens are coloured by the feature. */
const chosen = (page, feature) => page.locator('#coloured', { hasText: `coloured by feature ${feature}` }).waitFor();

test('page: the first visit shows the example text with its features', async () => {
  await withPage({}, {}, async (page) => {
    await settled(page);
    assert.equal(await page.locator('#model').textContent(), MODEL);
    assert.equal(await page.locator('#text').inputValue(), 'The reliability of Wikipedia is very');
    assert.ok(await page.locator('.features .feature').count() > 10);
    assert.deepEqual(await page.locator('#source option').allTextContents(), [
      'Layer 2 · residual stream · 2k features', 'Layer 2 · attention heads · 2k features',
      'Layer 2 · MLP output · 2k features', 'Layer 3 · residual stream · 2k features']);
  });
});

test('page: type a prompt, click a feature, see the number that curl gives', async () => {
  await withPage({}, {}, async (page) => {
    await settled(page);
    await type(page, TEXT);
    assert.deepEqual(await page.locator('.token').allTextContents(), TOKENS.map((one) => one.trim()));
    await token(page, 12).hover();
    const topk = await post('/v1/activation/topk-by-token',
      { prompt: TEXT, model: MODEL, source: SOURCE, top_k: 10, ignore_bos: true });
    const expected = topk.results.find((row) => row.token_position === 12).top_features;
    const rows = page.locator('ol[aria-label="Strongest features of the token"] button');
    assert.deepEqual(await rows.evaluateAll((all) => all.map(({ dataset }) => [Number(dataset.feature), Number(dataset.value)])),
      expected.map((one) => [one.feature_index, one.activation_value]));

    await token(page, 12).focus();
    const feature = Number(await rows.nth(1).getAttribute('data-feature'));
    await rows.nth(1).click();
    await chosen(page, feature);
    const activation = await single(TEXT, SOURCE, feature);
    assert.deepEqual(await shownValues(page), activation.values);
    assert.equal(await page.locator('.readout .value').textContent(), String(activation.max_value));
    const bars = page.locator('.plot g');
    assert.deepEqual(await bars.evaluateAll((all) => all.map(({ dataset }) => Number(dataset.value))), activation.values);
    assert.match(await token(page, 12).getAttribute('title'), new RegExp(`feature ${feature}: ${activation.values[11]}$`));
    await bars.nth(11).locator('.slot').hover({ force: true });
    assert.equal(await page.locator('.readout .value').textContent(), String(activation.values[11]));
  });
});

test('page: features go by the names that the API gives them', async () => {
  await withPage({ text: 'In the beginning God created the heaven', feature: '251' }, {}, async (page) => {
    await chosen(page, 251);
    await page.locator('#name', { hasText: 'King James Bible narrative (the LORD, kings, Israel)' }).waitFor();
    const named = page.locator('ol[aria-label="Strongest features of the text"] button[data-feature="251"] .name');
    assert.equal(await named.textContent(), await page.locator('#name').textContent());
    const [row] = await post('/api/features', [{ modelId: MODEL, layer: SOURCE, index: 251, maxActsToReturn: 0 }]);
    assert.equal(row.explanations[0].description, await named.textContent());
  });
});

test('page: another source gives another source’s numbers', async () => {
  await withPage({ text: TEXT, feature: '156' }, {}, async (page) => {
    await chosen(page, 156);
    await page.locator('#source').selectOption('3-gemmascope-res-2k');
    await page.waitForURL(/source=3-gemmascope-res-2k/);
    await settled(page);
    const activation = await single(TEXT, '3-gemmascope-res-2k', 156);
    assert.ok(activation.max_value > 0);
    assert.deepEqual(await shownValues(page), activation.values);
  });
});

test('page: marked tokens rank the features of the whole text', async () => {
  await withPage({ text: TEXT }, {}, async (page) => {
    await settled(page);
    await token(page, 4).click();
    await token(page, 11).click();
    await page.locator('#ranked', { hasText: '2 marked tokens' }).waitFor();
    await page.locator('.progress:not(.on)').waitFor({ state: 'attached' });
    assert.equal(await token(page, 4).getAttribute('aria-selected'), 'true');
    const { activations } = await post('/v1/activation/all', { prompt: TEXT, model: MODEL, source_set: 'gemmascope-res-2k',
      selected_sources: [SOURCE], sort_by_token_indexes: [4, 11], ignore_bos: true, num_results: 20 });
    const expected = activations.filter((row) => row.sum_values > 0).map((row) => [row.index, row.sum_values]);
    const rows = page.locator('ol[aria-label="Strongest features of the text"] button');
    await page.waitForFunction(([first]) => document.querySelector('.feature.wide')?.dataset.feature === String(first), expected[0]);
    assert.deepEqual(await rows.evaluateAll((all) => all.map(({ dataset }) => [Number(dataset.feature), Number(dataset.value)])), expected);
    assert.match(page.url(), /sort=4%2C11/);
    await page.locator('#unmark').click();
    await page.locator('#ranked', { hasText: 'by maximum' }).waitFor();
  });
});

test('page: a feature typed by hand, an impossible one, and none', async () => {
  await withPage({ text: TEXT }, {}, async (page) => {
    await settled(page);
    const notice = page.locator('.panel .notice:not([hidden])');
    await page.locator('#feature').fill(String(FEATURE));
    await page.locator('#feature').press('Enter');
    await chosen(page, FEATURE);
    await page.locator('#feature').fill('99999');
    await page.locator('#feature').press('Enter');
    await notice.waitFor();
    assert.match(await notice.textContent(), /99999/);
    await page.locator('#feature').fill('seven');
    await page.locator('#feature').press('Enter');
    assert.match(await notice.textContent(), /whole number/);
    await page.locator('#feature').fill('');
    await page.locator('#feature').press('Enter');
    await page.locator('#coloured', { hasText: 'strongest' }).waitFor();
    assert.equal(await notice.count(), 0);
  });
});

test('page: everything works with the keyboard alone', async () => {
  await withPage({ text: 'x' }, {}, async (page) => {
    await settled(page);
    const focusedIs = (selector) => page.waitForFunction((wanted) => document.activeElement.matches(wanted), selector);
    const tabTo = async (selector) => {
      for (let i = 0; i < 30; i++) {
        await page.keyboard.press('Tab');
        if (await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) return;
      }
      assert.fail(`Tab does not reach ${selector}`);
    };
    await page.keyboard.press('/');
    await focusedIs('#text');
    await page.keyboard.press('Control+a');
    await page.keyboard.type(TEXT);
    await page.keyboard.press('Control+Enter');
    await settled(page);
    await page.locator('.tokens', { hasText: 'beginning' }).waitFor();
    await tabTo('.token');
    await focusedIs('.token[data-position="1"]');
    await page.keyboard.press('End');
    await focusedIs('.token[data-position="12"]');
    await page.keyboard.press('ArrowLeft');
    await focusedIs('.token[data-position="11"]');
    assert.match(await page.locator('h2', { hasText: 'Strongest on' }).textContent(), /earth/);
    await page.keyboard.press(' ');
    assert.equal(await token(page, 11).getAttribute('aria-selected'), 'true');
    await page.keyboard.press(' ');
    await tabTo('ol[aria-label="Strongest features of the token"] button');
    await page.keyboard.press('ArrowDown');
    const feature = await page.evaluate(() => document.activeElement.dataset.feature);
    await page.keyboard.press('Enter');
    await chosen(page, feature);
    assert.deepEqual(await shownValues(page), (await single(TEXT, SOURCE, feature)).values);
    await page.keyboard.press('Escape');
    await page.locator('#coloured', { hasText: 'strongest' }).waitFor();
  });
});

test('page: the address gives the same state to someone else, and Back goes back', async () => {
  let url;
  await withPage({ text: TEXT }, {}, async (page) => {
    await settled(page);
    await page.locator('#source').selectOption('3-gemmascope-res-2k');
    await settled(page);
    await token(page, 7).click();
    await page.locator('#feature').fill('156');
    await page.locator('#feature').press('Enter');
    await chosen(page, 156);
    url = page.url();
    const values = await shownValues(page);
    const other = await newPage(browser);
    await other.goto(url);
    await chosen(other, 156);
    await settled(other);
    assert.equal(await other.locator('#text').inputValue(), TEXT);
    assert.equal(await other.locator('#source').inputValue(), '3-gemmascope-res-2k');
    assert.equal(await token(other, 7).getAttribute('aria-selected'), 'true');
    assert.deepEqual(await shownValues(other), values);
    await other.context().close();
    await page.goBack();
    await page.locator('#coloured', { hasText: 'strongest' }).waitFor();
    await page.goForward();
    await chosen(page, 156);
  });
});

test('page: token text is data, never markup', async () => {
  const text = '<img src=x onerror=alert(1)> & <b>bold</b>\n"two"';
  await withPage({ text }, {}, async (page) => {
    await settled(page);
    assert.equal(await page.locator('main img, main b').count(), 0);
    assert.ok((await page.locator('.token').allTextContents()).join('').includes('↵'));
  });
});

test('page: an empty text and one that is too long are said in words', async () => {
  await withPage({ text: TEXT }, {}, async (page) => {
    await settled(page);
    await page.locator('#text').fill('');
    await page.locator('#text').press('Enter');
    await message(page).waitFor();
    assert.match(await message(page).textContent(), /Type a text/);
    const { token_limit: limit } = await (await fetch(`${server.base}/v1/capabilities`)).json();
    await page.locator('#text').fill('word '.repeat(4 * limit));
    await page.locator('#text').press('Enter');
    await message(page).filter({ hasText: String(limit) }).waitFor();
    assert.match(await message(page).textContent(), new RegExp(`\\d{3,}.*${limit}`));
    await page.locator('.count.over').waitFor();
    await type(page, TEXT);
    assert.equal(await message(page).count(), 0);
    await page.locator('.count', { hasText: `${TOKENS.length} / ${limit} tokens` }).waitFor();
  });
});

test('page: a text too long for an address survives a reload', async () => {
  await withPage({ text: TEXT }, {}, async (page) => {
    await settled(page);
    const text = 'word '.repeat(3000);
    await page.locator('#text').fill(text);
    await page.locator('#text').press('Enter');
    await message(page).waitFor();
    assert.ok(page.url().length < 300, page.url());
    await page.reload();
    await message(page).waitFor();
    assert.equal(await page.locator('#text').inputValue(), text);
  });
});

test('page: the second run is answered from the cache and says so', async () => {
  await withPage({ text: 'A text that nobody has asked for before.' }, {}, async (page) => {
    await settled(page);
    assert.match(await page.locator('#meta').textContent(), /^cache miss · /);
    await page.locator('button.primary').click();
    await page.locator('#meta[data-cache="hit"]').waitFor();
  });
});

test('page: the curl panel prints what gives the same answer', async () => {
  const text = 'It\'s "quoted"\n$HOME `x`';
  await withPage({ text, feature: '7' }, {}, async (page) => {
    await chosen(page, 7);
    await page.locator('.curl summary').click();
    const command = await page.locator('.curl pre').first().textContent();
    const { execFileSync } = await import('node:child_process');
    const answer = JSON.parse(execFileSync('bash', ['-c', command], { encoding: 'utf8' }));
    assert.deepEqual(answer.activation.values, await shownValues(page));
  });
});

test('page: a server that goes away is reported, and the page recovers by itself', async () => {
  await withPage({ text: TEXT }, {}, async (page) => {
    await settled(page);
    await server.stop('SIGKILL');
    await page.locator('#text').fill('Let there be light');
    await page.locator('#text').press('Enter');
    await message(page).filter({ hasText: 'the server is not running' }).waitFor();
    server = await startServer({ port: server.port });
    await settled(page);
    await page.locator('.tokens', { hasText: 'light' }).waitFor();
    assert.equal(await message(page).count(), 0);
  });
});

test('page: a slow answer shows seconds, can be stopped, and gives way to a newer text', async () => {
  await withPage({ text: TEXT }, {}, async (page) => {
    await settled(page);
    await page.route('**/v1/activation/topk-by-token', async (route) => {
      if (route.request().postData().includes('slow')) await new Promise((resolve) => setTimeout(resolve, 3000));
      await route.continue().catch(() => {}); // the page has given the request up
    });
    await page.locator('#text').fill('a slow text');
    await page.locator('#text').press('Enter');
    await page.locator('.progress.on', { hasText: /Computing features.*[01]\.\d s/ }).waitFor({ timeout: 1000 });
    await page.locator('button.primary', { hasText: 'Stop' }).click();
    await message(page).filter({ hasText: 'Stopped' }).waitFor();
    await message(page).locator('button').click();
    await page.locator('.progress.on').waitFor();
    await type(page, 'And God saw the light');
    await new Promise((resolve) => setTimeout(resolve, 3500));
    assert.match(await page.locator('.tokens').textContent(), /light$/);
    assert.equal(await page.locator('.progress.on').count(), 0);
    await page.unrouteAll({ behavior: 'ignoreErrors' });
  });
});

test('page: a full queue is waited for', async () => {
  await withPage({ text: TEXT }, {}, async (page) => {
    await settled(page);
    let refusals = 1;
    await page.route('**/v1/activation/topk-by-token', (route) => (refusals-- > 0
      ? route.fulfill({ status: 503, headers: { 'Retry-After': '1' }, json: { error: 'the queue is full' } })
      : route.continue()));
    await page.locator('#text').fill('And God called the light Day');
    await page.locator('#text').press('Enter');
    await page.locator('.progress.on', { hasText: 'busy; trying again in 1 s' }).waitFor();
    await settled(page);
    await page.locator('.tokens', { hasText: 'lightDay' }).waitFor();
  });
});

test('page: a model without SAEs shows its tokens and says what is missing', async () => {
  const alone = await startServer({ args: ['--model', 'demo'] });
  const page = await newPage(browser);
  try {
    await page.goto(`${alone.base}/?${new URLSearchParams({ text: TEXT })}`);
    await settled(page);
    await page.locator('main', { hasText: 'without SAEs' }).waitFor();
    assert.equal(await page.locator('.token').count(), TOKENS.length);
    assert.equal(await page.locator('#source').isVisible(), false);
    assert.equal(await page.locator('.panels').isVisible(), false);
    assert.deepEqual(page.problems, []);
  } finally {
    await page.context().close();
    await alone.stop();
  }
});

test('page: a server with a secret asks for it once and remembers it for the tab', async () => {
  const guarded = await startServer({ env: { DARKMATTER_SECRET: 'open sesame' } });
  const page = await newPage(browser);
  try {
    await page.goto(guarded.base);
    const dialog = page.locator('dialog[open]');
    await dialog.locator('input').fill('wrong');
    await dialog.locator('input').press('Enter');
    await dialog.filter({ hasText: 'not the right one' }).waitFor();
    await dialog.locator('input').fill('open sesame');
    await dialog.locator('input').press('Enter');
    await page.locator('dialog').waitFor({ state: 'detached' });
    await settled(page);
    await page.reload();
    await settled(page);
    assert.match(await page.locator('.curl pre').first().textContent(), /X-SECRET-KEY: \$DARKMATTER_SECRET/);
    assert.deepEqual(page.problems, []);
  } finally {
    await page.context().close();
    await guarded.stop();
  }
});

test('page: nothing scrolls sideways at 400 pixels', async () => {
  const text = `${TEXT} ${'a'.repeat(120)} https://example.org/${'long/'.repeat(20)}`;
  await withPage({ text, feature: String(FEATURE) }, { viewport: { width: 400, height: 800 } }, async (page) => {
    await chosen(page, FEATURE);
    await settled(page);
    await page.locator('.curl summary').click();
    await page.locator('.chart summary').click();
    const { wide, room } = await page.evaluate(() => ({
      wide: document.documentElement.scrollWidth, room: document.documentElement.clientWidth,
    }));
    assert.ok(wide <= room, `${wide} > ${room}`);
  });
});

async function assertAccessible(colorScheme, width) {
  const options = { colorScheme, viewport: { width, height: 900 }, reducedMotion: 'reduce', bypassCSP: true };
  await withPage({ text: TEXT, feature: String(FEATURE), sort: '4' }, options, async (page) => {
    await page.addScriptTag({ content: AXE });
    const check = async (state) => {
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      const bad = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
      assert.deepEqual(bad.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).slice(0, 3).join(' ')}`), [],
        `${state}, ${colorScheme}, ${width}`);
    };
    await chosen(page, FEATURE);
    await settled(page);
    await page.locator('.curl summary').click();
    await page.locator('.chart summary').click();
    await check('a feature');
    await page.keyboard.press('Escape');
    await page.locator('#coloured', { hasText: 'strongest' }).waitFor();
    await check('strongest features');
    await page.locator('#text').fill('');
    await page.locator('#text').press('Enter');
    await message(page).waitFor();
    await check('a message');
  });
}

test('page: axe finds nothing serious, wide and narrow, light and dark', async () => {
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1280, 400]) await assertAccessible(colorScheme, width);
  }
});

test('page: the theme follows the system until it is chosen, and the choice stays', async () => {
  await withPage({ text: TEXT }, { colorScheme: 'dark' }, async (page) => {
    const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
    await settled(page);
    assert.equal(await theme(), 'dark');
    await page.locator('#theme').click();
    assert.equal(await theme(), 'light');
    await page.reload();
    assert.equal(await theme(), 'light');
    await page.locator('#theme').click();
    assert.equal(await page.evaluate(() => localStorage.getItem('theme')), null);
    await page.emulateMedia({ colorScheme: 'light' });
    await page.waitForFunction(() => document.documentElement.dataset.theme === 'light');
  });
});

try {
  await run();
} finally {
  await browser.close();
  await server.stop();
}
