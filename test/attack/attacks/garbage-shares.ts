import type { Attack } from '../attack.ts'
import { flood, post } from '../wire.ts'

const CONNECTIONS = 50

/** Points that are no signatures, for every key there is, always others. */
export const garbageShares: Attack = {
  id: 'garbage-shares',
  name: `${CONNECTIONS} posts at a time of one node, each a garbage share for every key`,
  run({ url, tokens, keys: { many }, points }, count) {
    const bodies = points.map((_, first) =>
      post(
        '/exit-signature',
        {
          share_index: 4,
          shares: many.map((public_key, n) => ({ public_key, exit_signature: points[(first + n) % points.length] })),
        },
        tokens.node,
      ),
    )
    return flood(url, count, { connections: CONNECTIONS, say: (n) => bodies[n % bodies.length] ?? '' })
  },
}
