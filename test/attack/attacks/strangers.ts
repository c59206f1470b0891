import { loadFixtureCluster, readFixtureJson } from '../../support/keys/fixtures.ts'
import type { Attack } from '../attack.ts'
import { flood, head, post } from '../wire.ts'

const CONNECTIONS = 50
/** Items of one request: some 0.3 MB, which are refused unread for a lock as small as this one, and as many as are read. */
const [UNREAD, READ] = [800, 600]

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
  const deposit = {
    pubkey: public_key,
    withdrawal_credentials: `0x01${'00'.repeat(31)}`,
    amount: '32000000000',
    signature,
  }
  const exits = (count: number) =>
    post(`/exp/partial_exits/${lock}`, {
      partial_exits: Array<typeof exit>(count).fill(exit),
      share_idx: 1,
      signature: `0x${'11'.repeat(64)}01`,
    })
  return [
    exits(UNREAD),
    exits(READ),
    // The root of these is computed before anybody knows who sends them.
    exits(expected.validators.length),
    post(`/deposit_data/partial_deposits/${lock}/1`, { partial_deposit_data: Array(READ).fill(deposit) }),
    post('/obol/eth/v1/beacon/states/head/validators', { ids: Array(UNREAD).fill(public_key) }),
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
