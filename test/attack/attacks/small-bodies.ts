import type { Attack } from '../attack.ts'
import { flood, post } from '../wire.ts'

const CONNECTIONS = 800

/** Bodies that are just too small to be large. */
export const smallBodies: Attack = {
  id: 'small-bodies',
  name: `${CONNECTIONS} bodies just under 1 MiB of one token`,
  reaches: ['200'],
  run({ url, tokens }, count) {
    // Nobody reads the padding; whole it has the form of a post.
    const body = { share_index: 4, shares: [], padding: Array(1040).fill('0'.repeat(996)) }
    const request = post('/exit-signature', body, tokens.node)
    return flood(url, count, { connections: CONNECTIONS, say: () => request })
  },
}
