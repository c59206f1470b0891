import type { Attack } from '../attack.ts'
import { flood, post } from '../wire.ts'

const CONNECTIONS = 50

/** Points that are no signatures, for every key there is, always others. */
export const garbageShares: Attack = {
  id: 'garbage-shares',
  name: `${CONNECTIONS} posts at a time of one node, each a garbage share for every key`,
  reaches: ['200'],
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

/** Points that nobody can verify, for a key that was handed out: what would bind it to a vault for good. */
export const garbagePoints: Attack = {
  id: 'garbage-points',
  name: 'garbage deposit signatures of one node, for a key that a vault was given',
  reaches: ['200'],
  run({ url, tokens, keys: { registered }, points }, count) {
    const bodies = points.map((exit_signature, n) =>
      post(
        '/signatures',
        {
          share_index: 4,
          shares: [{ public_key: registered, exit_signature, deposit_signature: points[(n + 1) % points.length] }],
        },
        tokens.node,
      ),
    )
    return flood(url, count, { connections: 8, say: (n) => bodies[n % bodies.length] ?? '' })
  },
  async left({ query }) {
    // Those of a cluster are bound by the deposits of its lock.
    const rows = await query(
      'select from deposit_bindings b join validators v on v.id = b.validator_id where v.cluster_id is null',
    )
    return { text: `${rows.length} keys bound`, isRight: rows.length === 0 }
  },
}
