import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { ErasableRow } from '@dvt-relayer/db/queries/messages/retention.ts'
import { describe, expect, it } from 'vitest'
import { createErasureProof } from './erasure-proof.ts'

const FINAL = 100
const VAULT = Buffer.alloc(20, 7)
/** Withdrawal credentials of a type, of the vault unless told. */
const credentialsOf = (type: number, vault: Uint8Array = VAULT, padding = 0) =>
  Buffer.from([type, padding, ...Buffer.alloc(10), ...vault])
const [TYPE_1, TYPE_2] = [credentialsOf(1), credentialsOf(2)]
/** What is wrongly signed. */
const WRONG = 0xee

/** A validator whose clock runs, and all of whose exits wait: its deposit is not looked at now. */
const rowOf = (id: number, more: Partial<ErasableRow> = {}): ErasableRow => ({
  id,
  publicKey: Buffer.alloc(48, id),
  beaconIndex: 1000 + id,
  vault: VAULT,
  oracleSetId: 3,
  depositBlock: 50,
  heldCredentials: TYPE_1,
  isOver: false,
  ...more,
})
type Said = { index?: number; credentials?: Buffer } | undefined
interface Deposit {
  id: number
  block: number
  credentials?: Buffer
  isWrong?: true
}

/** What each node says of each validator by its id; undefined: it has none; a text: it is away. */
function look(
  rows: ErasableRow[],
  nodes: (Record<number, Said> | string)[],
  { deposits = [] as Deposit[], final = FINAL as number | null, fault = undefined as Error | undefined } = {},
) {
  const asked: number[] = []
  const most = { open: 0, most: 0 }
  const chain = {
    consensusNodes: nodes.map((says, position) => ({
      host: `node-${position + 1}`,
      async findFinal(keys: readonly Uint8Array[]) {
        if (typeof says === 'string') throw new Error(says)
        expect(keys).toEqual(rows.map(({ publicKey }) => publicKey))
        return new Map(
          Object.entries(says).flatMap(([id, said]) =>
            said === undefined
              ? []
              : [
                  [
                    toHex(Buffer.alloc(48, Number(id))),
                    {
                      index: said.index ?? 1000 + Number(id),
                      withdrawalCredentials: toHex(said.credentials ?? TYPE_1),
                    },
                  ],
                ],
          ),
        )
      },
    })),
    execution: {
      host: 'execution',
      each: [],
      getBlock: async () => (final === null ? undefined : { number: final }),
      async *scanLogs({ fromBlock, toBlock }: { fromBlock: number; toBlock: number }) {
        if (fault !== undefined) throw fault
        expect(toBlock).toBe(fromBlock)
        asked.push(fromBlock)
        most.most = Math.max(most.most, ++most.open)
        await new Promise((resolve) => setImmediate(resolve))
        most.open--
        const logs = deposits
          .filter(({ block }) => block === fromBlock)
          .map(({ id, block, credentials = TYPE_1, isWrong }, logIndex) => ({
            blockNumber: block,
            logIndex,
            args: {
              pubkey: toHex(Buffer.alloc(48, id)),
              withdrawal_credentials: toHex(credentials),
              amount: toHex(Buffer.from(new BigUint64Array([32_000_000_000n]).buffer)),
              signature: toHex(Buffer.alloc(96, isWrong ? WRONG : id)),
              index: toHex(Buffer.alloc(8)),
            },
          }))
        yield { fromBlock, toBlock, logs, undecodable: 0 }
      },
    },
  }
  const crypto = {
    verify: async (triples: readonly { signature: Uint8Array }[]) =>
      triples.map(({ signature }) => signature[0] !== WRONG),
  }
  const proof = createErasureProof({ config: { network: networks.hoodi }, crypto, chain } as unknown as Parameters<
    typeof createErasureProof
  >[0])
  return proof.look(rows, new AbortController().signal).then((found) => ({ ...found, asked, most: most.most }))
}
const nothing = { held: [], broken: [], isDepositGone: false, reasons: [], asked: [], most: 0 }
const because = (reason: string, validators = 1) => [{ reason, validators }]
const heldOf = ({ id, beaconIndex, oracleSetId, depositBlock }: ErasableRow, credentials: Uint8Array = TYPE_1) => ({
  ...{ validatorId: id, beaconIndex, oracleSetId, depositBlock },
  withdrawalCredentials: new Uint8Array(credentials),
})

describe('of a validator whose deposit was looked at before', () => {
  const both = (one: Said, other: Said) => [{ 1: one }, { 1: other }]

  it.each<[string, Partial<ErasableRow>, Buffer]>([
    ['the same as before', {}, TYPE_1],
    ['switched to type 0x02 since', {}, TYPE_2],
    ['of type 0x02 from the beginning', { heldCredentials: TYPE_2 }, TYPE_2],
    ['of no vault that was noted', { vault: null }, TYPE_1],
  ])('it holds, where all nodes say so: %s', async (_, more, credentials) => {
    const row = rowOf(1, more)
    expect(await look([row], both({ credentials }, { credentials }))).toEqual({
      ...nothing,
      held: [heldOf(row, credentials)],
    })
  })

  const [OTHER_VAULT, LAST_OTHER] = [Buffer.alloc(20, 8), Buffer.from([...Buffer.alloc(19, 7), 8])]
  it.each<[string, Partial<ErasableRow>, Said, Said, string]>([
    ['absent', {}, undefined, {}, 'the consensus node at node-1 has it not in its finalized state'],
    ['absent at another', {}, {}, undefined, 'the consensus node at node-2 has it not in its finalized state'],
    ['elsewhere', {}, {}, { index: 1002 }, 'the consensus node at node-2 has it at another index than was noted'],
    [
      'in doubt',
      {},
      {},
      { credentials: TYPE_2 },
      'the consensus node at node-2 has it with other withdrawal credentials than another',
    ],
    [
      'of another vault',
      { heldCredentials: credentialsOf(1, OTHER_VAULT) },
      { credentials: credentialsOf(1, OTHER_VAULT) },
      { credentials: credentialsOf(1, OTHER_VAULT) },
      'it has another vault than was noted',
    ],
    ...(
      [
        ['of another address than before', TYPE_1, credentialsOf(1, LAST_OTHER)],
        ['switched to 0x02, of another address', TYPE_1, credentialsOf(2, LAST_OTHER)],
        ['switched back to 0x01', TYPE_2, TYPE_1],
        ['of type 0x00 before', credentialsOf(0), TYPE_1],
        ['of type 0x00 before, and 0x02 now', credentialsOf(0), TYPE_2],
        ['of type 0x03 now', TYPE_1, credentialsOf(3)],
        ['with another byte after the type', TYPE_1, credentialsOf(1, VAULT, 1)],
      ] as const
    ).map(([what, before, now]): [string, Partial<ErasableRow>, Said, Said, string] => [
      what,
      { vault: null, heldCredentials: before },
      { credentials: now },
      { credentials: now },
      'it has other withdrawal credentials than before',
    ]),
  ])('it is contradicted where it is %s', async (_, more, one, other, reason) => {
    expect(await look([rowOf(1, more)], both(one, other))).toEqual({
      ...nothing,
      broken: [1],
      reasons: because(reason),
    })
  })

  it('it is waited for while a node says nothing, unless another one contradicts it', async () => {
    const row = rowOf(1)
    expect(await look([row], [{ 1: {} }, 'node-2 is away'])).toEqual({ ...nothing, reasons: because('node-2 is away') })
    expect(await look([row], ['node-1 is away', 'so is node-2'])).toEqual({
      ...nothing,
      reasons: because('node-1 is away'),
    })
    expect(await look([row], [])).toEqual({ ...nothing, reasons: because('no consensus node answers') })
    expect(await look([row], ['node-1 is away', { 1: { index: 5 } }])).toMatchObject({ held: [], broken: [1] })
    const moved = { credentials: credentialsOf(1, LAST_OTHER) }
    expect(await look([row], ['node-1 is away', { 1: moved }])).toMatchObject({ held: [], broken: [1] })
  })

  it('each is told by itself, and each reason once, with how many it is of', async () => {
    const rows = [rowOf(1), rowOf(2), rowOf(3), rowOf(4, { depositBlock: null })]
    expect(await look(rows, [{ 1: {}, 4: {} }])).toEqual({
      ...nothing,
      held: [heldOf(rowOf(1))],
      broken: [2, 3, 4],
      reasons: [
        ...because('the consensus node at node-1 has it not in its finalized state', 2),
        ...because('no validly signed deposit was found in final logs'),
      ],
    })
  })
})

describe('the deposit of a validator', () => {
  const fresh = (id: number, more: Partial<ErasableRow> = {}) => rowOf(id, { heldCredentials: null, ...more })
  const all = (...ids: number[]) => [Object.fromEntries(ids.map((id) => [id, {}]))]
  const GONE = because('no validly signed deposit was found in final logs')

  it.each([
    ['at the beginning', fresh(1)],
    ['at the end', rowOf(1, { isOver: true })],
  ])('is looked at %s, in its block alone', async (_, row) => {
    const right = { id: 1, block: 50 }
    expect(await look([row], all(1), { deposits: [right] })).toEqual({
      ...nothing,
      held: [heldOf(row)],
      asked: [50],
      most: 1,
    })
    const gone = { ...nothing, broken: [1], isDepositGone: true, reasons: GONE, asked: [50], most: 1 }
    expect(await look([row], all(1), { deposits: [] })).toEqual(gone)
    expect(await look([row], all(1), { deposits: [{ ...right, isWrong: true }] })).toEqual(gone)
    expect(await look([row], all(1), { deposits: [{ ...right, id: 2 }] })).toEqual(gone)
    expect(await look([row], all(1), { deposits: [{ ...right, credentials: TYPE_2 }] })).toEqual({
      ...gone,
      isDepositGone: false,
      reasons: because('its deposit in final logs has other withdrawal credentials'),
    })
    // The first one that is rightly signed says whose it is.
    const later = { ...right, credentials: TYPE_2 }
    expect(await look([row], all(1), { deposits: [{ ...later, isWrong: true }, right, later] })).toMatchObject({
      held: [heldOf(row)],
    })
  })

  it('is final in the newest final block, and waited for above it, and where nobody says what is final', async () => {
    const NOT_FINAL = because('the block of its deposit is not final at the execution node')
    const deposits = [{ id: 1, block: FINAL }]
    const at = (depositBlock: number) => [fresh(1, { depositBlock })]
    expect(await look(at(FINAL), all(1), { deposits })).toMatchObject({
      held: [{ validatorId: 1, depositBlock: FINAL }],
      asked: [FINAL],
    })
    expect(await look(at(FINAL + 1), all(1), { deposits })).toEqual({ ...nothing, reasons: NOT_FINAL })
    expect(await look(at(0), all(1), { final: null })).toEqual({ ...nothing, reasons: NOT_FINAL })
    const fault = new Error('the execution node is away')
    expect(await look(at(FINAL), all(1), { fault })).toEqual({ ...nothing, reasons: because(fault.message) })
  })

  it('is not asked for where nothing is to be learned, and else in few blocks at once, in their order', async () => {
    const rows = [9, 8, 70, 8, 30, 20, 10].map((depositBlock, position) => fresh(position + 1, { depositBlock }))
    const more = [fresh(8, { depositBlock: null }), fresh(9), rowOf(10, { depositBlock: 60 })]
    const found = await look([...rows, ...more], all(1, 2, 3, 4, 5, 6, 7, 8, 10), {
      deposits: rows.map(({ id, depositBlock }) => ({ id, block: depositBlock ?? 0 })),
    })
    expect(found.asked).toEqual([8, 9, 10, 20, 30, 70])
    expect(found.most).toBe(4)
    expect(found.held.map(({ validatorId }) => validatorId)).toEqual([1, 2, 3, 4, 5, 6, 7, 10])
    expect(found.broken).toEqual([8, 9])
    // Of what nobody has found nothing is gone.
    expect(found.isDepositGone).toBe(false)
  })
})
