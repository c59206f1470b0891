import type { Attack } from '../attack.ts'
import { flood, post } from '../wire.ts'

const CONNECTIONS = 16
/** Items of a post, key shares of each, and keys of a request: as many as a body of the largest size holds. */
const [ITEMS, HINTS, KEYS] = [1000, 130, 100_000]

/** Long bodies with one fault, or with more than anybody may ask for: what is wrong should be found before all of it is looked at. */
export const lateFaults: Attack = {
  id: 'late-faults',
  name: `${CONNECTIONS} posts at a time of a node and an operator, megabytes each, that are refused`,
  reaches: ['413', '422'],
  run({ url, tokens, vaults, keys: { many } }, count) {
    const public_key_shares = Array.from({ length: HINTS }, () => ({ share_index: 1, public_key_share: '' }))
    const shares = Array.from({ length: ITEMS }, (_, n) => ({
      public_key: many[n % many.length],
      exit_signature: '',
      deposit_signature: '',
      public_key_shares,
    }))
    const public_keys = Array.from({ length: KEYS }, () => many[0])
    const amounts = public_keys.map(() => 32_000_000_000)
    const requests = [
      post('/signatures', { share_index: 0, shares }, tokens.node),
      post('/fund', { vault: vaults.foreign, public_keys, amounts }, tokens.foreign),
      post('/withdraw', { vault: vaults.foreign, public_keys, amounts }, tokens.foreign),
      post('/validators', { public_keys }, tokens.foreign),
    ]
    return flood(url, count, { connections: CONNECTIONS, say: (n) => requests[n % requests.length] ?? '' })
  },
}
