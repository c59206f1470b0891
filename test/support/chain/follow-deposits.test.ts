import { randomBytes } from 'node:crypto'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { depositSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import { describe, expect, it } from 'vitest'
import { deployDepositContract, depositBySomebodyElse } from '../contracts/deposits.ts'
import { readFixtureJson } from '../keys/fixtures.ts'
import { skipWithoutAnvil, startAnvil } from './anvil.ts'
import { depositOfVector, type StandInDeposit, startBeacon } from './beacon.ts'
import { followDeposits, isValidDeposit } from './follow-deposits.ts'

const network = networks.hoodi
const ETH = 1_000_000_000n
const FIRST = 5
const engine = createBlstEngine()
const [first, second, third] = [makeKey(), makeKey(), makeKey()]

function makeKey() {
  // Below the group order.
  const secretKey = new Uint8Array(randomBytes(32)).fill(1, 0, 1)
  return { secretKey, publicKey: engine.publicKeyOf(secretKey) }
}

const credentials = (byte: number) => new Uint8Array(32).fill(byte)

/** A deposit signed by its own key; `genesisForkVersion` is another network's where it must not count. */
function depositOf(
  { publicKey, secretKey }: { publicKey: Uint8Array; secretKey: Uint8Array },
  amountGwei: bigint,
  withdrawalCredentials = credentials(1),
  fork = network,
): StandInDeposit {
  const message = { publicKey, withdrawalCredentials, amountGwei }
  return { ...message, signature: engine.sign(secretKey, depositSigningRoot(fork, message)) }
}

async function startChain() {
  await using stack = new AsyncDisposableStack()
  const anvil = stack.use(await startAnvil({ chainId: 31_337 }))
  const contract = await deployDepositContract(anvil)
  const beacon = stack.use(await startBeacon({ network, validators: FIRST }))
  const follower = followDeposits(beacon, contract, network)
  const deposit = async (...deposits: StandInDeposit[]) => {
    for (const one of deposits)
      if (!(await depositBySomebodyElse(anvil, contract, one)).ok) throw new Error('not deposited')
  }
  const resources = stack.move()
  return { anvil, beacon, follower, deposit, [Symbol.asyncDispose]: () => resources.disposeAsync() }
}

describe('a deposit for a new key', () => {
  const { cases } = readFixtureJson('vectors/deposit_data.json') as {
    cases: (Parameters<typeof depositOfVector>[0] & { network: string })[]
  }

  it('is valid on the network it was signed for only', () => {
    for (const vector of cases)
      expect(isValidDeposit(networks.hoodi, depositOfVector(vector))).toBe(vector.network === 'hoodi')
  })

  it('is invalid with any field changed, and for a key that is no point', () => {
    const good = depositOf(first, 32n * ETH)
    expect(isValidDeposit(network, good)).toBe(true)
    for (const change of [
      { amountGwei: 33n * ETH },
      { withdrawalCredentials: credentials(2) },
      { publicKey: second.publicKey },
      { publicKey: new Uint8Array(48).fill(0xee) },
      { publicKey: new Uint8Array(48).fill(0xc0, 0, 1), signature: new Uint8Array(96).fill(0xc0, 0, 1) },
      { signature: new Uint8Array(96) },
    ])
      expect(isValidDeposit(network, { ...good, ...change })).toBe(false)
  })
})

describe.skipIf(skipWithoutAnvil)('the follower', () => {
  it('makes validators in the order of the deposits, with their credentials and amounts', async () => {
    await using chain = await startChain()
    await chain.deposit(depositOf(first, 32n * ETH), depositOf(second, 40n * ETH, credentials(2)))
    await chain.follower.sync()
    expect(chain.beacon.validatorCount).toBe(FIRST + 2)
    const made = { balanceGwei: 32n * ETH, withdrawalCredentials: credentials(1), status: 'pending_queued' }
    expect(chain.beacon.findValidator(FIRST)).toEqual({ index: FIRST, publicKey: first.publicKey, ...made })
    expect(chain.beacon.findValidator(second.publicKey)).toMatchObject({ index: FIRST + 1, balanceGwei: 40n * ETH })
    const answer = await fetch(`${chain.beacon.url}/eth/v1/beacon/states/head/validators/${FIRST + 1}`)
    expect(await answer.json()).toMatchObject({
      data: {
        balance: '40000000000',
        status: 'pending_queued',
        validator: { withdrawal_credentials: toHex(credentials(2)), effective_balance: '40000000000' },
      },
    })
    await chain.follower.sync()
    expect(chain.beacon.validatorCount).toBe(FIRST + 2)
  })

  it('ignores an invalidly signed deposit, whoever it is for, and counts the next valid one', async () => {
    await using chain = await startChain()
    const foreign = depositOf(first, 32n * ETH, credentials(1), networks.mainnet)
    await chain.deposit(foreign, { ...foreign, signature: new Uint8Array(96) }, depositOf(second, 32n * ETH))
    await chain.follower.sync()
    expect(chain.beacon.findValidator(first.publicKey)).toBeUndefined()
    expect(chain.beacon.findValidator(second.publicKey)?.index).toBe(FIRST)
    await chain.deposit(foreign, depositOf(first, 33n * ETH, credentials(3)))
    await chain.follower.sync()
    expect(chain.beacon.findValidator(first.publicKey)).toMatchObject({
      index: FIRST + 1,
      balanceGwei: 33n * ETH,
      withdrawalCredentials: credentials(3),
    })
  })

  it('takes a second deposit for a top-up, whatever its credentials and signature', async () => {
    await using chain = await startChain()
    const topUp = { ...depositOf(first, 2n * ETH, credentials(9)), signature: new Uint8Array(96) }
    await chain.deposit(depositOf(first, 32n * ETH), topUp)
    await chain.follower.sync()
    await chain.deposit(topUp)
    await chain.follower.sync()
    expect(chain.beacon.validatorCount).toBe(FIRST + 1)
    expect(chain.beacon.findValidator(first.publicKey)).toMatchObject({
      balanceGwei: 36n * ETH,
      withdrawalCredentials: credentials(1),
    })
  })

  it('leaves deposits pending until they are processed', async () => {
    await using chain = await startChain()
    await chain.deposit(depositOf(first, 32n * ETH))
    await chain.follower.queue()
    await chain.follower.queue()
    const answer = await fetch(`${chain.beacon.url}/eth/v1/beacon/states/head/pending_deposits`)
    expect(await answer.json()).toMatchObject({ data: [{ pubkey: toHex(first.publicKey), amount: '32000000000' }] })
    expect(chain.beacon.validatorCount).toBe(FIRST)
    await chain.follower.sync()
    expect(chain.beacon.validatorCount).toBe(FIRST + 1)
  })

  it('goes back with the execution chain', async () => {
    await using chain = await startChain()
    await chain.deposit(depositOf(first, 32n * ETH))
    await chain.follower.sync()
    // Seen together, so the reorganisation of one brings the other back as well, which is read again.
    await chain.deposit(depositOf(second, 32n * ETH), depositOf(third, 32n * ETH))
    await chain.follower.sync()
    expect(chain.beacon.findValidator(third.publicKey)?.index).toBe(FIRST + 2)
    await chain.anvil.reorg(1)
    await chain.follower.sync()
    expect(chain.beacon.validatorCount).toBe(FIRST + 2)
    expect(chain.beacon.findValidator(second.publicKey)?.index).toBe(FIRST + 1)
    await chain.anvil.reorg(3)
    await chain.deposit(depositOf(third, 32n * ETH))
    await chain.follower.sync()
    expect(chain.beacon.validatorCount).toBe(FIRST + 1)
    expect(chain.beacon.findValidator(third.publicKey)?.index).toBe(FIRST)
  })
})
