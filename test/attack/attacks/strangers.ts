import { loadFixtureCluster, readFixtureJson } from '../../support/keys/fixtures.ts'
import type { Attack, Scene } from '../attack.ts'
import type { AttackStage } from '../stage.ts'
import { flood, head, post } from '../wire.ts'

const CONNECTIONS = 50
/** One for each question and each who asks it. */
const SIGNERS = 16
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

/**
 * What the manager's wallet would sign for the vault's own operator, asked for by those who may not: nobody, sidecars, another vault's
 * operator. They come from this machine and add no header, as what a proxy or tunnel without headers lets in.
 */
function wanted({ tokens, vaults: { own: vault }, managed }: Scene): string[] {
  const [first = '', ...others] = managed
  const amounts = managed.map(() => 1_000_000_000)
  const asked = [
    ['/register', { vault, validators_start_index: 1000, amounts: [32_000_000_000], validator_type: '0x01' }],
    ['/fund', { vault, public_keys: managed, amounts }],
    // Of nothing: a full exit.
    ['/withdraw', { vault, public_keys: managed, amounts: amounts.map(() => 0) }],
    ['/consolidate', { vault, source_public_keys: others, target_public_keys: others.map(() => first) }],
  ] as const
  return [undefined, tokens.node, tokens.anyNode, tokens.foreign].flatMap((token) =>
    asked.map(([path, body]) => post(path, body, token)),
  )
}

/** What the relayer has signed for vaults, and the rows that asking for it writes. */
async function countSigned({ metrics, query }: AttackStage): Promise<Record<string, number>> {
  const made = (await metrics()).matchAll(/^dvt_relayer_manager_signatures_total\{.*\} (\d+)/gm)
  const [rows] = await query<Record<string, number>>(
    `select (select count(*) from manager_signatures)::int as records, (select count(*) from messages)::int as messages,
       (select count(*) from validators where vault is not null)::int as reserved`,
  )
  return { signatures: [...made].reduce((sum, [, count]) => sum + Number(count), 0), ...rows }
}
let before: Record<string, number> = {}

/** Who has no token, or not the one for it, asks for all that there is. */
export const strangers: Attack = {
  id: 'strangers',
  name: `${CONNECTIONS} strangers who ask and post without a token, and ${SIGNERS} who want the manager’s signature`,
  reaches: ['200', '401', '403', '413', '422'],
  async prepare(stage) {
    before = await countSigned(stage)
  },
  async run(scene, count) {
    const { url, keys } = scene
    const requests = [
      head('/health'),
      head('/exits'),
      head('/info'),
      head('/ready'),
      post('/validators', { public_keys: keys.many }),
      post('/exit-signature', { share_index: 1, shares: [] }),
      ...unsigned(),
    ]
    const say = (of: readonly string[]) => (n: number) => of[n % of.length] ?? ''
    await flood(url, count, { connections: CONNECTIONS, say: say(requests) })
    await flood(url, count, { connections: SIGNERS, say: say(wanted(scene)) })
  },
  async left(stage) {
    const differences = Object.entries(await countSigned(stage))
      .map(([what, now]) => [what, now - (before[what] ?? Number.NaN)] as const)
      .filter(([, more]) => more !== 0)
    const text = differences.map(([what, more]) => `${more} more ${what}`).join(', ')
    return { text: text || 'nothing signed, no row written', isRight: differences.length === 0 }
  },
}
