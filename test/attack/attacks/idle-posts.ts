import type { Attack } from '../attack.ts'
import { flood, head } from '../wire.ts'

const CONNECTIONS = 20

/** Large posts of one token that never come to their end. */
export const idlePosts: Attack = {
  id: 'idle-posts',
  name: `${CONNECTIONS} posts of 9 MB of one token, of which one byte comes`,
  reaches: ['408', '503'],
  run: ({ url, tokens: { node: token } }, count) =>
    flood(url, count, {
      connections: CONNECTIONS,
      say: () => `${head('/exit-signature', { token, length: 9_000_000 })}{`,
    }),
}

const CLAIMS = 50
/** As large as a body may be whose sender shows with it. */
const CLAIMED_BYTES = 1024 * 1024

/** A signature of the right form, which recovers to the key of nobody. */
const SIGNATURE = `0x${'11'.repeat(64)}1b`
const claim = (scheme: string, signature: string) => {
  const nonce = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString('hex')
  return `${scheme}${Math.floor(Date.now() / 1000)}:${nonce}:${signature}`
}

/** Who says that it is a node, and never sends the body that would show it. */
export const claims: Attack = {
  id: 'claims',
  name: `${CLAIMS} strangers who claim to be nodes`,
  reaches: ['401', '403'],
  run({ url }, count) {
    const say = (number: number) => {
      const [scheme, signature] = number % 3 === 0 ? ['Operator 5:', `0x${'11'.repeat(256)}`] : ['Node ', SIGNATURE]
      const length = number % 2 === 0 ? { length: CLAIMED_BYTES } : {}
      const path = number % 2 === 0 ? '/exit-signature' : '/exits'
      return head(path, length).replace('\r\n\r\n', `\r\nauthorization: ${claim(scheme, signature)}\r\n\r\n`)
    }
    return flood(url, count, { connections: CLAIMS, say })
  },
}
