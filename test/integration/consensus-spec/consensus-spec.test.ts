/**
 * Exits and deposits made as relayer and sidecars make them, judged by the executable consensus specification: `process_voluntary_exit`,
 * `process_deposit` and `process_deposit_request` of every fork from Capella on. What is changed in any part must be refused by all of them.
 */

import { describe, expect, it } from 'vitest'
import { type Network, networks } from '../../../libs/chain/src/networks.ts'
import { createBlstEngine } from '../../../libs/crypto/src/bls/blst.ts'
import {
  depositDataRoot,
  depositSigningRoot,
  exitSigningRoot,
  withdrawalCredentials,
} from '../../../libs/crypto/src/messages/messages.ts'
import { splitExitSignature } from '../../../libs/crypto/src/oracle/oracle-split.ts'
import { recoverSignature } from '../../../libs/crypto/src/threshold/recover.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import {
  hasConsensusSpec,
  type Judgement,
  judge,
  type SignedDeposit,
  type SignedExit,
} from '../../support/services/consensus-spec.ts'

const FORKS = ['capella', 'deneb', 'electra', 'fulu', 'gloas', 'heze']
const engine = createBlstEngine()
const GWEI = 1_000_000_000n
const VAULT = new Uint8Array(20).fill(0xab)
type Keys = ReturnType<typeof createTestKeys>[number]

/** What `threshold` nodes sign, put together as the relayer does it: without the public key shares, as a stranger's cluster comes. */
function signTogether({ publicKey, shares }: Keys, message: Uint8Array, threshold: number): Uint8Array {
  const candidates = new Map(
    shares.slice(-threshold).map(({ index, secretKey }) => [index, [engine.sign(secretKey, message)]]),
  )
  const result = recoverSignature(engine, { message, publicKey, threshold, candidates, maxAttempts: 10 })
  if (result.status !== 'recovered') throw new Error('not recovered')
  return result.signature
}

/** What any `threshold` oracles put together from their shares. */
function joinShares(keys: Keys, message: Uint8Array, signature: Uint8Array): Uint8Array {
  const { signatureShares } = splitExitSignature(engine, {
    message,
    signature,
    publicKey: keys.publicKey,
    threshold: 7,
    oracles: 11,
  })
  const candidates = new Map(signatureShares.slice(4).map((share, i) => [BigInt(i + 5), [share]]))
  const result = recoverSignature(engine, {
    message,
    publicKey: keys.publicKey,
    threshold: 7,
    candidates,
    maxAttempts: 10,
  })
  if (result.status !== 'recovered') throw new Error('not recovered')
  return result.signature
}

function makeExit(network: Network, validatorIndex: number, indexes: readonly bigint[], threshold: number) {
  const [keys] = createTestKeys(1, { nodes: indexes.length, threshold, indexes })
  if (keys === undefined) throw new Error('no keys')
  const epoch = network.capellaEpoch
  const message = exitSigningRoot(network, { epoch, validatorIndex })
  const signature = joinShares(keys, message, signTogether(keys, message, threshold))
  return { keys, exit: { publicKey: keys.publicKey, validatorIndex, epoch, signature } satisfies SignedExit }
}

function makeDeposit(network: Network, type: '0x01' | '0x02', amountGwei: bigint): SignedDeposit {
  const [keys] = createTestKeys(1, { nodes: 4, threshold: 3 })
  if (keys === undefined) throw new Error('no keys')
  const message = { publicKey: keys.publicKey, withdrawalCredentials: withdrawalCredentials(type, VAULT), amountGwei }
  const signature = signTogether(keys, depositSigningRoot(network, message), 3)
  return { ...message, signature, dataRoot: depositDataRoot({ ...message, signature }) }
}

/** The same deposit with something else in it, its data root right: only the signature can be wrong. */
function alter(deposit: SignedDeposit, change: Partial<SignedDeposit>): SignedDeposit {
  const altered = { ...deposit, ...change }
  return { ...altered, dataRoot: depositDataRoot(altered) }
}

const everyFork = (judgement: Judgement, kind: 'exits' | 'deposits') =>
  FORKS.map((fork) => judgement[fork]?.[kind].map((reason) => reason === null))

describe.skipIf(!hasConsensusSpec()).each(Object.values(networks))(
  'on $name, by the specification of every fork,',
  (network) => {
    it('exits are taken, and nothing else under their signatures', () => {
      const obol = makeExit(network, 3, [1n, 2n, 3n, 4n], 3)
      const ssv = makeExit(network, 0, [5n, 128n, 1402n, 70_000n, 2n ** 40n, 2n ** 40n + 1n, 2n ** 53n - 1n], 5)
      const { exit } = obol
      const under = (domain: Network, validatorIndex = exit.validatorIndex, epoch = exit.epoch) =>
        signTogether(obol.keys, exitSigningRoot(domain, { epoch, validatorIndex }), 3)
      const right = [exit, ssv.exit]
      const wrong: SignedExit[] = [
        { ...exit, validatorIndex: 2 },
        { ...exit, epoch: exit.epoch + 1 },
        { ...exit, signature: ssv.exit.signature },
        { ...exit, signature: under(network, 2) },
        { ...exit, signature: under(network, exit.validatorIndex, exit.epoch + 1) },
        // The version of the fork that is current in the judge's states from Deneb on: what EIP-7044 rules out.
        {
          ...exit,
          signature: under({
            ...network,
            capellaForkVersion: Uint8Array.of(0xee, ...network.capellaForkVersion.subarray(1)),
          }),
        },
        { ...exit, signature: under({ ...network, capellaForkVersion: network.genesisForkVersion }) },
        { ...exit, signature: under({ ...network, genesisValidatorsRoot: new Uint8Array(32) }) },
      ]
      const judgement = judge(network, { exits: [...right, ...wrong] })
      expect(Object.keys(judgement)).toEqual(FORKS)
      const expected = [...right.map(() => true), ...wrong.map(() => false)]
      expect(everyFork(judgement, 'exits')).toEqual(FORKS.map(() => expected))
    })

    it('deposits of both types are taken, and nothing else under their signatures', () => {
      const right = [
        makeDeposit(network, '0x01', 32n * GWEI),
        makeDeposit(network, '0x02', 32n * GWEI),
        makeDeposit(network, '0x02', 1_234_567_891_011n),
        makeDeposit(network, '0x02', 2048n * GWEI),
      ]
      const [first, compounding] = right as [SignedDeposit, SignedDeposit, ...SignedDeposit[]]
      const other = { ...network, genesisForkVersion: Uint8Array.of(9, 9, 9, 9) }
      const wrong = [
        alter(first, { withdrawalCredentials: withdrawalCredentials('0x02', VAULT) }),
        alter(compounding, { withdrawalCredentials: withdrawalCredentials('0x01', VAULT) }),
        alter(first, { withdrawalCredentials: withdrawalCredentials('0x01', new Uint8Array(20).fill(0xac)) }),
        alter(first, { amountGwei: 32n * GWEI + 1n }),
        alter(first, { publicKey: compounding.publicKey }),
        alter(first, { signature: compounding.signature }),
        makeDeposit(other, '0x01', 32n * GWEI),
        // Rightly signed, but not what the contract would have taken: the root is another one.
        { ...first, dataRoot: compounding.dataRoot },
      ]
      const judgement = judge(network, { deposits: [...right, ...wrong] })
      const expected = [...right.map(() => true), ...wrong.map(() => false)]
      expect(everyFork(judgement, 'deposits')).toEqual(FORKS.map(() => expected))
    })
  },
)
