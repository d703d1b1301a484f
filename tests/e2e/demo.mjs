// Facts about the bundled demo, measured when it was made (demo/reference.json), not by this program.
import { readFileSync } from 'node:fs';

export const reference = JSON.parse(readFileSync(new URL('../../demo/reference.json', import.meta.url)));
export const MODEL = 'gemma-2-demo';
export const TEXT = 'In the beginning God created the heaven and the earth.';
export const TOKENS = ['<bos>', 'In', ' the', ' beginning', ' God', ' created', ' the', ' heav', 'en',
  ' and', ' the', ' earth', '.'];
export const WIDTH = 256;
export const D_SAE = 2048;

/** Source name -> [{position, l0, top: [[index, value]]}], values rounded to 4 decimals. */
export const facts = new Map(Object.entries(reference.saes).map(([folder, positions]) => {
  const [, site, layer, width] = /demo-(\w+)\/layer_(\d+)\/width_(\w+)\//.exec(folder);
  return [`${layer}-gemmascope-${site}-${width}`, positions];
}));
export const SOURCE = '2-gemmascope-res-2k';

/** Float32 in another order of summation than the reference's. */
export const near = (a, b) => Math.abs(a - b) <= 2e-3 * Math.max(1, Math.abs(b));
