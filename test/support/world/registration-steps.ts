/** Steps of a registration on chain that several tests take: sent, tampered with, raced by a stranger, checked from outside. */

import type { Network } from '@dvt-relayer/chain/networks.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { depositDataRoot, depositSigningRoot, withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { createFastEcies } from '@dvt-relayer/crypto/oracle/ecies.ts'
import type { Hex } from 'viem'
import { concatHex } from 'viem/utils'
import { expect } from 'vitest'
import { depositBySomebodyElse } from '../contracts/deposits.ts'
import type { Outcome } from '../contracts/transactions.ts'
import type { Vault } from '../contracts/vault.ts'
import { createTestKeys } from '../keys/keys.ts'
import { type RegisterAnswer, type RegisterRequest, registerOnChain } from '../operator/operator.ts'
import { encodeDeposit, hexOf } from '../operator/operator-encoding.ts'
import type { SignedDeposit, SignedExit } from '../services/consensus-spec.ts'
import { assertOraclesCanExit, engine } from './nodes.ts'
import type { VaultWorld } from './vault-world.ts'

const ecies = createFastEcies()

/** Sends an answer over a root that the operator read earlier. */
export function registerOverRoot(
  vault: Vault,
  type: '0x01' | '0x02',
  answer: RegisterAnswer,
  root: Hex,
): Promise<Outcome> {
  const validators = answer.validators.map(({ public_key, amount, deposit_signature }) =>
    encodeDeposit(vault.address, type, public_key, amount, fromHex(deposit_signature ?? '', 96)),
  )
  return vault.register(root, concatHex(validators), hexOf(answer.validators_manager_signature))
}

/** The vault refuses the answer with one byte changed in any of its parts that reach the chain. */
export async function assertTamperProof(vault: Vault, type: '0x01' | '0x02', answer: RegisterAnswer): Promise<void> {
  for (const [part, tampered] of tamperedWith(answer)) {
    const outcome = await registerOnChain(vault, type, tampered)
    expect([part, outcome]).toEqual([part, { ok: false, error: 'InvalidSignature' }])
  }
}

function tamperedWith(answer: RegisterAnswer): [part: string, RegisterAnswer][] {
  const flip = (text: string | null) => {
    const bytes = fromHex(text ?? '')
    bytes[20] = (bytes[20] ?? 0) ^ 1
    return toHex(bytes)
  }
  const [first, ...rest] = answer.validators
  if (first === undefined) throw new Error('an empty answer')
  const withFirst = (change: Partial<typeof first>) => ({ ...answer, validators: [{ ...first, ...change }, ...rest] })
  return [
    ['key', withFirst({ public_key: flip(first.public_key) })],
    ['deposit signature', withFirst({ deposit_signature: flip(first.deposit_signature) })],
    ['amount', withFirst({ amount: first.amount + 256 })],
    ['manager signature', { ...answer, validators_manager_signature: flip(answer.validators_manager_signature) }],
  ]
}

/** Somebody's deposit of 32 ETH for a key of its own, which counts or does not. Returns the key. */
export async function depositOfStranger(world: VaultWorld, isValid: boolean): Promise<Uint8Array> {
  const [stranger] = createTestKeys(1, { nodes: 1, threshold: 1 })
  if (stranger === undefined) throw new Error('no key')
  const { publicKey, secretKey } = stranger
  const message = {
    publicKey,
    withdrawalCredentials: withdrawalCredentials('0x01', new Uint8Array(20).fill(0x51)),
    amountGwei: 32_000_000_000n,
  }
  const root = isValid ? depositSigningRoot(world.network, message) : new Uint8Array(32)
  const signature = engine.sign(secretKey, root)
  const outcome = await depositBySomebodyElse(world.anvil, world.depositContract, { ...message, signature })
  expect(outcome).toMatchObject({ ok: true })
  return publicKey
}

/**
 * Every validator of the answer is on the consensus side, the vault's, at the index its exit is for; each of the eleven oracles opens
 * its share, any seven of them rebuild the exit, and six cannot. Returns what they decrypted.
 */
export async function assertRegistered(
  world: VaultWorld,
  vault: Vault,
  request: RegisterRequest,
  answer: RegisterAnswer,
): Promise<Uint8Array[]> {
  const { network, oracles, beacon } = world
  const opened: Uint8Array[] = []
  for (const [position, { public_key, oracles_exit_signature_shares: shares }] of answer.validators.entries()) {
    const publicKey = fromHex(public_key, 48)
    const index = request.startIndex + position
    expect(beacon.findValidator(publicKey)).toMatchObject({
      index,
      withdrawalCredentials: withdrawalCredentials(request.type, fromHex(vault.address, 20)),
      balanceGwei: BigInt(request.amounts[position] ?? 0),
    })
    await assertOraclesCanExit(network, oracles, 7, publicKey, index, shares)
    const ciphertexts = shares?.encrypted_exit_signatures ?? []
    const points = oracles.map(({ secretKey }, x) => ecies.decrypt(secretKey, fromHex(ciphertexts[x] ?? '', 193)))
    assertAnySeven(points)
    opened.push(...points)
  }
  return opened
}

/**
 * What was signed for a registration: its deposits as the vault makes them, and the exits that the last seven oracles rebuild from what they
 * decrypted, at the indexes that were asked for.
 */
export function signedFor(
  network: Network,
  { vault, type, amounts, startIndex }: RegisterRequest,
  { validators }: RegisterAnswer,
  opened: readonly Uint8Array[],
): { exits: SignedExit[]; deposits: SignedDeposit[] } {
  // Spelt out: what the relayer makes of vault and type is what is judged.
  const credentials = fromHex(`${type}${'00'.repeat(11)}${vault.slice('0x'.length)}`, 32)
  const deposits = validators.map(({ public_key, deposit_signature }, position) => {
    const deposit = {
      publicKey: fromHex(public_key, 48),
      withdrawalCredentials: credentials,
      amountGwei: BigInt(amounts[position] ?? 0),
      signature: fromHex(deposit_signature ?? '', 96),
    }
    return { ...deposit, dataRoot: depositDataRoot(deposit) }
  })
  const oracles = opened.length / validators.length
  const exits = deposits.map(({ publicKey }, position) => {
    const points = opened.slice(position * oracles, (position + 1) * oracles)
    const shares = points.map((point, x) => ({ index: BigInt(x + 1), point })).slice(-7)
    const signature = engine.interpolateSignatures(shares)
    return { publicKey, validatorIndex: startIndex + position, epoch: network.capellaEpoch, signature }
  })
  return { exits, deposits }
}

/**
 * Of these shares, by oracle, any seven give the same exit, and no six do:
 *
 * six of them and each further one give the same, so all lie on one polynomial of degree six at most; and where six points miss its
 * value at 0, its degree is six, so all sets of six miss it.
 */
function assertAnySeven(points: readonly Uint8Array[]): void {
  const shares = points.map((point, x) => ({ index: BigInt(x + 1), point }))
  const exits = shares.slice(6).map((seventh) => toHex(engine.interpolateSignatures([...shares.slice(0, 6), seventh])))
  expect([exits.length, new Set(exits).size]).toEqual([5, 1])
  expect(exits).not.toContain(toHex(engine.interpolateSignatures(shares.slice(0, 6))))
}
