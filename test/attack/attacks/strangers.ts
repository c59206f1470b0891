import { loadFixtureCluster, readFixtureJson } from '../../support/keys/fixtures.ts'
import type { Attack } from '../attack.ts'
import { flood, head, post } from '../wire.ts'

const CONNECTIONS = 50
/** Exits of one request, some 0.3 MB: their root is computed before anybody knows who sends them. */
const EXITS = 800

/** What charon would post, signed by nobody. */
function unsigned(): string[] {
  const { nodes, expected } = loadFixtureCluster('cluster-4')
  const { lock_hash: lock } = readFixtureJson(nodes[0]?.lockFile ?? '') as { lock_hash: string }
  const [validator] = expected.validators
  const public_key = validator?.public_key ?? ''
  const signature = `0x${'ab'.repeat(96)}`
  const exit = {
    public_key,
    signed_exit_message: { message: { epoch: '0', validator_index: '5' }, signature },
  }
  const partial_exits = Array<typeof exit>(EXITS).fill(exit)
  const deposit = {
    pubkey: public_key,
    withdrawal_credentials: `0x01${'00'.repeat(31)}`,
    amount: '32000000000',
    signature,
  }
  return [
    post(`/exp/partial_exits/${lock}`, { partial_exits, share_idx: 1, signature: `0x${'11'.repeat(64)}01` }),
    post(`/deposit_data/partial_deposits/${lock}/1`, { partial_deposit_data: Array(EXITS).fill(deposit) }),
    post('/obol/eth/v1/beacon/states/head/validators', { ids: Array(EXITS).fill(public_key) }),
  ]
}

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
      ...unsigned(),
    ]
    return flood(url, count, { connections: CONNECTIONS, say: (n) => requests[n % requests.length] ?? '' })
  },
}
