import type { Attack } from '../attack.ts'
import { flood, post } from '../wire.ts'

const [CONNECTIONS, FIRST, INDEXES] = [8, 5, 100]
/** How many unverified share indexes one exit keeps, and how many points of each (`signatures/candidates.ts`). */
const [MOST_INDEXES, MOST_POINTS] = [64, 4 * 64]

/** Right points at share indexes that nobody has, so that the right ones among them have to be searched for. */
export const shareIndexes: Attack = {
  id: 'share-indexes',
  name: `points at ${INDEXES} invented share indexes, of a token for all of them`,
  reaches: ['200'],
  run({ url, tokens, keys: { signed }, points }, count) {
    const bodies = Array.from({ length: INDEXES }, (_, index) =>
      post(
        '/exit-signature',
        {
          share_index: FIRST + index,
          shares: signed.map((public_key, n) => ({ public_key, exit_signature: points[(n + index) % points.length] })),
        },
        tokens.anyNode,
      ),
    )
    return flood(url, count, { connections: CONNECTIONS, say: (n) => bodies[n % bodies.length] ?? '' })
  },
  async left({ query }) {
    const [row] = await query<{ indexes: number; points: number }>(
      `select coalesce(max(i), 0)::int as indexes, coalesce(max(c), 0)::int as points
       from (select count(distinct share_index) as i, count(*) as c from partial_signatures
             where state = 'unverified' group by message_id) of_each`,
    )
    const { indexes, points } = row ?? { indexes: 0, points: 0 }
    const text = `at most ${points} points at ${indexes} share indexes kept of one exit`
    return { text, isRight: indexes <= MOST_INDEXES && points <= MOST_POINTS }
  },
}
