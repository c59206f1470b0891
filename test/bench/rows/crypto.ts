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
    target: '≤ 1.2 × native sum, ≥ 40 times less than plain',
    isMet: ours <= 1.2 * native && (plain === undefined || plain >= 40 * ours),
    baseline: `native sum ${formatMs(native)}${plain === undefined ? '' : `; plain ${formatMs(plain)}, ${formatRatio(plain / ours)} × ours`}`,
    ratio: ours / native,
    limit: 'point multiplications of the split, 11 signatures and 11 ECDH a validator',
    values: { ours_ms: ours, native_sum_ms: native, ...(plain === undefined ? {} : { plain_ms: plain }) },
  }))
}
