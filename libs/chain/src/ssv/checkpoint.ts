/** The state of SSV registrations as a text, so that a restart goes on where the last run was (docs/protocol.md#12-ssv). */

import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { parseJsonText } from '@dvt-relayer/common/json/text.ts'
import { parseSharesData } from '@dvt-relayer/crypto/ssv/shares.ts'
import { type Static, Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { emptySsvState, registrationKey, type SsvRegistration, type SsvScope, type SsvState } from './registry.ts'

const whole = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const hex = (bytes: string) => Type.String({ pattern: `^0x([0-9a-f]{2})${bytes}$` })
const count = Type.Record(Type.String(), whole)

const Checkpoint = Type.Object({
  version: Type.Literal(1),
  scope: Type.String(),
  next_block: whole,
  doubtful: Type.Optional(whole),
  operators: Type.Array(Type.Tuple([whole, Type.String({ pattern: '^[0-9a-f]{64}$' })])),
  nonces: Type.Array(Type.Tuple([hex('{20}'), whole])),
  /** States without them may lack what was never read twice. */
  gaps: Type.Array(
    Type.Object({ owner: hex('{20}'), block_number: whole, log_index: whole, counted: whole, signed: whole }),
  ),
  registrations: Type.Array(
    Type.Object({
      owner: hex('{20}'),
      owner_nonce: whole,
      public_key: hex('{48}'),
      block_number: whole,
      log_index: whole,
      operator_ids: Type.Array(whole),
      shares: hex('*'),
    }),
  ),
  malformed: count,
})
type Checkpoint = Static<typeof Checkpoint>
const check = Compile(Checkpoint)
/** A registration has some 15, and 2.7 kB at least. */
const MAX_VALUES = 8_000_000

/** What a state is of, in one spelling. */
function scopeText({ contract, owners, operators }: SsvScope): string {
  const sorted = (values: readonly Uint8Array[] | undefined) => values?.map(toHex).sort().join()
  const ids = operators === undefined ? undefined : [...operators.ids].sort((a, b) => a - b).join()
  const parts = [toHex(contract.address), contract.block, sorted(owners), ids, sorted(operators?.publicKeys)]
  return parts.map((part) => part ?? 'all').join(' ')
}

/** The state as JSON text. It holds public material only. */
export function ssvStateToJson(scope: SsvScope, state: SsvState): string {
  const checkpoint: Checkpoint = {
    version: 1,
    scope: scopeText(scope),
    next_block: state.nextBlock,
    ...(state.doubtful === undefined ? {} : { doubtful: state.doubtful }),
    operators: [...state.operators],
    nonces: [...state.nonces],
    gaps: Array.from(state.gaps, ([owner, { blockNumber, logIndex, counted, signed }]) => ({
      owner,
      block_number: blockNumber,
      log_index: logIndex,
      counted,
      signed,
    })),
    registrations: Array.from(state.live.values(), ({ owner, ownerNonce, publicKey, blockNumber, logIndex, data }) => ({
      owner: toHex(owner),
      owner_nonce: ownerNonce,
      public_key: toHex(publicKey),
      block_number: blockNumber,
      log_index: logIndex,
      operator_ids: data.shares.map(({ operatorId }) => operatorId),
      shares: toHex(data.bytes),
    })),
    malformed: state.malformed,
  }
  return JSON.stringify(checkpoint)
}

/**
 * Reads what {@link ssvStateToJson} wrote. Signatures and points are not verified again: the text is as trustworthy as its place.
 *
 * @returns why there is none: `other_scope` (owners, operators or contract have changed since) or `broken`; either way the events are
 * to be read from the contract's first block
 */
export function parseSsvState(scope: SsvScope, text: string): SsvState | 'other_scope' | 'broken' {
  let value: unknown
  try {
    value = parseJsonText(text, MAX_VALUES)
  } catch {
    return 'broken'
  }
  if (!check.Check(value)) return 'broken'
  if (value.scope !== scopeText(scope)) return 'other_scope'
  const empty = emptySsvState(scope)
  const live = new Map<string, SsvRegistration>()
  for (const item of value.registrations) {
    const data = parseSharesData(fromHex(item.shares), item.operator_ids)
    if ('fault' in data) return 'broken'
    const [owner, publicKey] = [fromHex(item.owner), fromHex(item.public_key)]
    live.set(registrationKey(owner, publicKey), {
      owner,
      ownerNonce: item.owner_nonce,
      publicKey,
      blockNumber: item.block_number,
      logIndex: item.log_index,
      data,
    })
  }
  const malformed = { ...empty.malformed }
  for (const kind of Object.keys(malformed) as (keyof typeof malformed)[]) malformed[kind] = value.malformed[kind] ?? 0
  return {
    nextBlock: value.next_block,
    operators: new Map(value.operators),
    nonces: new Map(value.nonces),
    gaps: new Map(
      value.gaps.map(({ owner, block_number, log_index, counted, signed }) => [
        owner,
        { blockNumber: block_number, logIndex: log_index, counted, signed },
      ]),
    ),
    live,
    doubtful: value.doubtful,
    malformed,
  }
}
