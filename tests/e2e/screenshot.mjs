// node screenshot.mjs URL FOLDER [WORD]: every page of the demo as a person has it after doing something
// there, at 1280 and 400 pixels, light and dark; with a WORD only those whose names contain it. Says
// what scrolls sideways and what the console complains of.
// node screenshot.mjs URL ../../docs/img docs: the pictures of README.md.
// The server has indexed the demo's corpus and, for the pages of neurons, `--source 2 --source 2-mlp_out`.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { launch, newPage, settled } from './browser.mjs';
import { MODEL, SOURCE, TEXT } from './demo.mjs';

const [base, folder, word = ''] = process.argv.slice(2);
if (!folder) {
  console.error('usage: node screenshot.mjs http://127.0.0.1:5002 FOLDER [WORD | docs]');
  process.exit(2);
}
mkdirSync(folder, { recursive: true });

const to = (path, query) => `${path}?${new URLSearchParams(query)}`;
const quiet = (tab) => tab.waitForLoadState('networkidle');
const drawn = (tab) => tab.locator('.results:not(.stale):not([hidden])').waitFor();
const generated = (tab) => tab.locator('button.primary', { hasText: 'Generate' }).waitFor();
const type = async (tab, field, words) => {
  await tab.locator(field).fill(words);
  await tab.locator(field).press('Enter');
};
const feature = (index, source = SOURCE) => `/${MODEL}/${source}/${index}`;
const compared = JSON.stringify([140, 251].map((index) => ({ modelId: MODEL, layer: SOURCE, index: String(index) })));
const steps = ['tokens', 'next', 'write', 'embedding', 'residual', 'lens', 'mlp', 'clamp', 'features', 'feature', 'splice', 'steer', 'dark'];

/** name: [address, what a person does there]. */
const pages = {
  home: ['/', settled],
  lab: ['/', async (tab) => {
    await settled(tab);
    await type(tab, '#text', TEXT);
    await tab.locator('.tokens', { hasText: 'God' }).waitFor();
    await settled(tab);
    await tab.locator('.features .feature.wide').nth(1).click();
    await tab.locator('.token[data-position="4"]').click();
  }],
  model: [`/${MODEL}`, (tab) => tab.locator('.neurons summary').click()],
  source: [`/${MODEL}/${SOURCE}`, (tab) => tab.locator('.cloud canvas').hover({ position: { x: 150, y: 150 } })],
  feature: [feature(251), async (tab) => {
    await tab.locator('main[data-ready]').waitFor();
    await type(tab, '#test', TEXT);
    await tab.locator('#testvalue').waitFor();
    await tab.locator('.activations .row').nth(1).click();
  }],
  stacked: [`${feature(251)}?view=stacked`, quiet],
  neurons: [`/${MODEL}/2`, quiet],
  neuron: [feature(17, '2-mlp_out'), async (tab) => {
    await tab.locator('main[data-ready]').waitFor();
    await type(tab, '#test', TEXT);
    await tab.locator('#testvalue').waitFor();
  }],
  report: [`/${MODEL}/${SOURCE}/report`, quiet],
  search: ['/', async (tab) => {
    await type(tab, '#q', 'bible');
    await tab.locator('.found > li').first().waitFor();
  }],
  searchempty: ['/search', quiet],
  searchtoken: [to('/search', { q: ' God', in: 'promotes' }), quiet],
  compare: [to('/compare', { features: compared, defaulttesttext: TEXT }), quiet],
  lens: ['/lens', async (tab) => {
    await drawn(tab);
    await tab.locator('.lens tbody tr').nth(3).locator('td').nth(4).click();
  }],
  steeridle: ['/steer', quiet],
  steer: ['/steer', async (tab) => {
    await quiet(tab);
    await type(tab, '#text', 'In the beginning God created');
    await generated(tab);
    await tab.locator('#find-feature').fill('king james');
    await tab.locator('#hits button').first().click();
    await tab.locator('[data-type="STEERED"] .tok').nth(2).waitFor();
    await generated(tab);
    await tab.locator('[data-type="STEERED"] .tok').nth(2).hover();
  }],
  attribution: ['/attribution', drawn],
  attention: ['/attention', async (tab) => {
    await drawn(tab);
    await tab.locator('.token').nth(3).hover();
  }],
  residual: ['/residual', async (tab) => {
    await drawn(tab);
    await tab.locator('.film button').nth(3).click();
  }],
  ...Object.fromEntries(steps.map((step, i) => [`tour${String(i + 1).padStart(2, '0')}-${step}`,
    [to('/tour', { step }), (tab) => tab.locator(`main[data-step="${step}"]`).waitFor()]])),
  nowhere: ['/nothing/here/at/all', quiet],
  nosource: [`/${MODEL}/9-nothing`, quiet],
};

/** name: [address, height, what is waited for]. */
const pictures = {
  lab: [to('/', { text: TEXT, source: SOURCE, feature: 251 }), 850, async (tab) => {
    await settled(tab);
    await quiet(tab);
    await tab.locator('.token[data-position="4"]').focus();
  }],
  feature: [to(feature(140), { defaulttesttext: 'Is there anything that you want?' }), 900, (tab) => tab.locator('#testvalue').waitFor()],
  steer: [to('/steer', { text: 'In the beginning God created', features: `${SOURCE}:251:12`, n: 24, temp: 0 }), 730, async (tab) => {
    await tab.locator('.tok').nth(40).waitFor();
    await generated(tab);
  }],
};

const browser = await launch();
async function shoot(tab, name, [path, act], options) {
  tab.problems.length = 0;
  try {
    await tab.goto(base + path);
    await act(tab);
    await quiet(tab);
  } catch (error) {
    tab.problems.push(error.message.split('\n')[0]);
  }
  const over = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (over > 0) tab.problems.push(`${over} pixels too wide`);
  for (const problem of tab.problems) console.log(`${name}: ${problem}`);
  await tab.screenshot({ path: join(folder, `${name}.png`), ...options });
}
if (word === 'docs') {
  const tab = await newPage(browser, { colorScheme: 'light', viewport: { width: 1240, height: 900 } });
  for (const [name, [path, height, act]] of Object.entries(pictures)) {
    const still = async (page) => {
      await act(page);
      await quiet(page);
      await page.evaluate(() => {
        document.activeElement.blur();
        // The time that it took on this machine is nothing to print.
        for (const words of document.querySelectorAll('.status, #meta')) words.textContent = words.textContent.split(' · ')[0];
      });
    };
    await shoot(tab, name, [path, still], { clip: { x: 0, y: 0, width: 1240, height } });
  }
} else {
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1280, 400]) {
      const tab = await newPage(browser, { colorScheme, viewport: { width, height: 900 }, hasTouch: width === 400 });
      for (const [name, page] of Object.entries(pages)) {
        if (name.includes(word)) await shoot(tab, `${name}-${width}-${colorScheme}`, page, { fullPage: true });
      }
      await tab.context().close();
    }
  }
}
await browser.close();
