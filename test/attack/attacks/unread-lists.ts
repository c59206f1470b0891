import type { Attack } from '../attack.ts'
import { flood, head } from '../wire.ts'

const CONNECTIONS = 400
/** Their list has some 19 MB: more than the kernel takes for a reader who takes nothing. */
const OPEN = 50_000

/** Large answers that are asked for and not taken. */
export const unreadLists: Attack = {
  id: 'unread-lists',
  name: `${CONNECTIONS} lists of ${OPEN} exits asked for by one token, and not read`,
  reaches: ['cut off'],
  async prepare({ query }) {
    await query(
      `with made as (
         insert into validators (public_key)
         select sha256(n::text::bytea) || substr(sha256((n + 1000000)::text::bytea), 1, 16) from generate_series(1, $1::int) n
         on conflict do nothing
         returning id)
       insert into messages (validator_id, kind, validator_index, epoch, signing_root, threshold, state, revision)
       select id, 'exit', 0, 0, sha256(id::text::bytea), 3, 'collecting', (select nextval('message_revision')) from made`,
      [OPEN],
    )
    // They came at once, as no operator's do: what PostgreSQL makes of tables that it has not looked at is another matter.
    await query('analyze validators, messages')
  },
  run: ({ url, tokens: { node: token } }, count) =>
    flood(url, count, {
      connections: CONNECTIONS,
      isDeaf: true,
      // Half of them ask for what has changed since, which is all.
      say: (n) => head(n % 2 === 0 ? '/exits' : '/exits?after=0', { token }),
    }),
}
