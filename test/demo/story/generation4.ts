/**
 * The story's generation 4: the operator asks with `POST /register` for so many validators and gets keys, deposit signatures,
 * shares for the oracles and the manager's signature; the vault on chain checks what it can of that and deposits.
 */

import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { RegisterRequest, RegisterResponse } from '@dvt-relayer/api/schemas.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { depositBySomebodyElse } from '../../support/contracts/deposits.ts'
import { nextIndex, registerOnChain } from '../../support/operator/operator.ts'
import { askOnce, askToRegister } from '../actors/operator.ts'
import { depositRoot, exitRoot } from '../chain/signing-roots.ts'
import { startVaultChain } from '../chain/vault-chain.ts'
import { DemoError } from '../errors.ts'
import type { Home } from '../home.ts'
import { makeKey, signRoot } from '../keys.ts'
import type { Secret } from '../secrets/secrets.ts'
import { type Generation, HALF, keysOf, type Message, type Registered, type Scene, SPARE } from './scene.ts'

/** The operator's request and the complete answer to it. */
interface Asked {
  request: RegisterRequest
  answer: RegisterResponse
}

const TYPE = '0x02'
const AMOUNT_GWEI = 32_000_000_000

/** Starts the nodes and deploys the vault. */
export async function startGeneration4(home: Pick<Home, 'path'>, running: AsyncDisposableStack): Promise<Generation> {
  const chain = await startVaultChain(home, running)
  const { network, beacon, anvil, depositContract, vault, manager } = chain
  const credentials = fromHex(`${TYPE}${'00'.repeat(11)}${vault.address.slice('0x'.length)}`, 32)
  const messages: Message[] = []
  const managerSignatures: Secret[] = []

  /** Validators of these amounts from the next free index on. */
  const requestOf = (count: number): RegisterRequest => ({
    vault: vault.address,
    validators_start_index: nextIndex(beacon),
    amounts: new Array<number>(count).fill(AMOUNT_GWEI),
    validator_type: TYPE,
  })

  async function askFor({ stage, cluster, signal }: Scene, half: 0 | 1): Promise<Asked> {
    const request = requestOf(HALF)
    const expected = keysOf(cluster, half)
    for (const [position, publicKey] of expected.entries()) {
      const exit = { epoch: network.capellaEpoch, validatorIndex: request.validators_start_index + position }
      const deposit = { publicKey, withdrawalCredentials: credentials, amountGwei: BigInt(AMOUNT_GWEI) }
      messages.push(
        { kind: 'exit', publicKey: toHex(publicKey), root: exitRoot(network, exit) },
        { kind: 'deposit', publicKey: toHex(publicKey), root: depositRoot(network, deposit) },
      )
    }
    const answer = await askToRegister(stage.relayerUrl, request, signal)
    if (answer.validators.map(({ public_key }) => public_key).join() !== expected.map(toHex).join())
      throw new DemoError('the relayer hands out other keys than the next ones of the cluster')
    managerSignatures.push({
      kind: "validators manager's signature",
      value: fromHex(answer.validators_manager_signature ?? '', 65),
    })
    return { request, answer }
  }

  /** Sends the transaction; the consensus side must then have the validators at the indexes that were asked for. */
  async function registerAll({ story }: Scene, { request, answer }: Asked): Promise<Registered[]> {
    const { validators_start_index: startIndex } = request
    const last = startIndex + answer.validators.length - 1
    return story.step(
      `register validators ${startIndex} to ${last}`,
      async () => {
        const outcome = await registerOnChain(vault, TYPE, answer)
        if (!outcome.ok) throw new DemoError(`the vault refuses the operator's transaction: ${outcome.error}`)
        await chain.processDeposits()
        return answer.validators.map(
          ({ public_key: publicKey, oracles_exit_signature_shares: shares, receipt }, position) => {
            const found = beacon.findValidator(fromHex(publicKey, 48))
            if (found?.index !== startIndex + position || toHex(found.withdrawalCredentials) !== toHex(credentials))
              throw new DemoError('the consensus side does not count a deposit of the vault as it should')
            if (shares === null) throw new DemoError('the operator has no shares of a validator that it registered')
            return { publicKey, validatorIndex: found.index, shares, receipt }
          },
        )
      },
      () =>
        `The vault checked the manager's signature and deposited. The consensus side checked the deposit signatures and has validators ${startIndex} to ${last}.`,
    )
  }

  /** Somebody's validator, with a right signature. */
  async function depositAsStranger(): Promise<void> {
    const { secretKey, publicKey } = makeKey()
    const deposit = {
      publicKey,
      withdrawalCredentials: Uint8Array.of(1, ...new Uint8Array(11), ...randomBytes(20)),
      amountGwei: BigInt(AMOUNT_GWEI),
    }
    const signature = signRoot(depositRoot(network, deposit), secretKey)
    const outcome = await depositBySomebodyElse(anvil, depositContract, { ...deposit, signature })
    if (!outcome.ok) throw new DemoError(`a stranger's deposit fails: ${outcome.error}`)
  }

  /** A stranger is quicker than the operator, which has to ask again. */
  async function registerInRace(scene: Scene, asked: Asked): Promise<Registered[]> {
    const { story, stage, signal } = scene
    const { validators_start_index: startIndex } = asked.request
    await story.step(
      'index race lost',
      async () => {
        await depositAsStranger()
        const outcome = await registerOnChain(vault, TYPE, asked.answer)
        if (outcome.ok || outcome.error !== 'InvalidSignature')
          throw new DemoError('the vault does not refuse a signature over an old registry root')
        await chain.processDeposits()
        if (nextIndex(beacon) !== startIndex + 1) throw new DemoError('the stranger has no validator')
      },
      () =>
        `A stranger's deposit took index ${startIndex} just before: the registry root is another, so the vault refused the operator's transaction.`,
    )
    const again = await story.step(
      'exits signed anew',
      async () => {
        const { validators } = await askOnce(stage.relayerUrl, requestOf(HALF), signal)
        if (validators.some(({ deposit_signature: signature }) => signature === null))
          throw new DemoError('a deposit signature is gone because the index has changed')
        return askFor(scene, 1)
      },
      ({ request }) =>
        `The operator asked again, from index ${request.validators_start_index} on: the deposits are as good as before, the nodes signed new exits.`,
    )
    return registerAll(scene, again)
  }

  return {
    number: 4,
    chain,
    list: 'validators',
    kinds: ['exit', 'deposit'],
    goods: "keys, deposit signatures, all shares for the oracles and the validators manager's signature",
    async ask(scene, half) {
      const asked = await askFor(scene, half)
      return () => (half === 0 ? registerAll(scene, asked) : registerInRace(scene, asked))
    },
    messages,
    async secrets() {
      const password = (await readFile(manager.passwordFile, 'utf8')).trim()
      return [
        { kind: "validators manager's secret key", value: fromHex(manager.privateKey, 32) },
        { kind: "password of the validators manager's keystore", value: password },
        ...managerSignatures,
      ]
    },
    hints(_, [registered]) {
      const body = requestOf(SPARE)
      const tops = { vault: body.vault, public_keys: [registered?.publicKey], amounts: [1_000_000_000] }
      return [{ path: 'validators' }, { path: 'register', body, remark: 'twice' }, { path: 'fund', body: tops }]
    },
  }
}
