import type { Attack } from '../attack.ts'
import { flood, head } from '../wire.ts'

const CONNECTIONS = 20

/** Large posts of one token that never come to their end. */
export const idlePosts: Attack = {
  id: 'idle-posts',
  name: `${CONNECTIONS} posts of 9 MB of one token, of which one byte comes`,
  run: ({ url, tokens: { node: token } }, count) =>
    flood(url, count, {
      connections: CONNECTIONS,
      say: () => `${head('/exit-signature', { token, length: 9_000_000 })}{`,
    }),
}
