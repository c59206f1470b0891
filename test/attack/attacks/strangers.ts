import type { Attack } from '../attack.ts'
import { flood, head, post } from '../wire.ts'

const CONNECTIONS = 50

/** Who has no token asks for all that there is. */
export const strangers: Attack = {
  id: 'strangers',
  name: `${CONNECTIONS} strangers who ask and post without a token`,
  run({ url, keys: { many } }, count) {
    const requests = [
      head('/health'),
      head('/exits'),
      head('/info'),
      head('/ready'),
      post('/validators', { public_keys: many }),
      post('/exit-signature', { share_index: 1, shares: [] }),
    ]
    return flood(url, count, { connections: CONNECTIONS, say: (n) => requests[n % requests.length] ?? '' })
  },
}
