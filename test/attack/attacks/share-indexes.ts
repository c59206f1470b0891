import type { Attack } from '../attack.ts'
import { flood, post } from '../wire.ts'

const [CONNECTIONS, FIRST, INDEXES] = [8, 5, 60]

/** Right points at share indexes that nobody has, so that the right ones among them have to be searched for. */
export const shareIndexes: Attack = {
  id: 'share-indexes',
  name: `points at ${INDEXES} invented share indexes, of a token for all of them`,
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
    const [row] = await query<{ most: number }>(
      `select coalesce(max(c), 0)::int as most from (select count(*) c from partial_signatures group by message_id) x`,
    )
    const most = row?.most ?? 0
    return { text: `at most ${most} points held of one exit`, isRight: most <= 4 + INDEXES }
  },
}
