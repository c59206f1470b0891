/** Row: relayer CPU for one validator's exit, the cryptography alone. */

import type { BenchRow } from '../report.ts'
import { formatMs, formatRatio } from '../report.ts'
import type { Stage } from '../stage.ts'

/** Runs ours, the native sum and the plain way. */
export async function benchCryptoRow(stage: Stage): Promise<BenchRow[]> {
  const rows = await stage.crypto()
  return rows.map(({ name, ours_ms: ours, native_sum_ms: native, plain_ms: plain }) => ({
    id: 'crypto',
    name: `relayer CPU for one validator's exit (${name})`,
    measured: formatMs(ours),
    target: '≤ 0.6 × native sum, ≥ 40 times less than plain',
    isMet: ours <= 0.6 * native && (plain === undefined || plain >= 40 * ours),
    baseline: `native sum ${formatMs(native)}${plain === undefined ? '' : `; plain ${formatMs(plain)}, ${formatRatio(plain / ours)} × ours`}`,
    ratio: ours / native,
    limit:
      '6 signatures of the split (a hash to the curve each), 22 multiplications for 11 oracles, one pairing for what the nodes sent, one for the split',
    values: { ours_ms: ours, native_sum_ms: native, ...(plain === undefined ? {} : { plain_ms: plain }) },
  }))
}
