/** What `/fund`, `/withdraw` and `/consolidate` do not sign for: an error with words, and never a 2xx without a signature. */

import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { toFunctionSelector } from 'viem'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import type { Relayer } from '../../../apps/relayer/src/relayer.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { type RpcProxy, RpcRefusal, startRpcProxy } from '../../support/chain/rpc-proxy.ts'
import { deployContract } from '../../support/contracts/transactions.ts'
import type { Vault } from '../../support/contracts/vault.ts'
import {
  addRegistered,
  addValidator,
  amountsBody,
  credentialsOf,
  ETH,
  pairsBody,
  post,
  query,
  recorded,
  settings,
} from '../../support/stages/manager.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { type Answer, eventually } from '../../support/world/world.ts'

let world: VaultWorld
let proxy: RpcProxy
let relayer: Relayer
let url: string
let vault: Vault
let other: Vault
/** Validators of the vault, fit for everything. */
let a: string
let b: string
beforeAll(async () => {
  if (skipWithoutAnvil) return
  world = await startVaultWorld({ oracles: 3, threshold: 2, validators: 20 })
  proxy = await startRpcProxy(world.anvil)
  vault = await world.deployVault()
  other = await world.deployVault()
  relayer = await world.startRelayer({
    ...settings,
    EXECUTION_ENDPOINT: proxy.url,
    EXECUTION_TIMEOUT: '3',
    EXECUTION_RETRY_TIMEOUT: '1',
    CONSENSUS_TIMEOUT: '3',
    CONSENSUS_RETRY_TIMEOUT: '1',
    MAX_KEYS_PER_REQUEST: '8',
  })
  url = relayer.url
  ;[a, b] = [await addRegistered(world, vault), await addRegistered(world, vault)]
})
afterAll(async () => {
  await relayer?.[Symbol.asyncDispose]()
  await proxy?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

/** Of this machine, if it has one besides its loopback addresses. */
const outerAddress = Object.values(networkInterfaces())
  .flatMap((all) => all ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address

const tops = (...items: (readonly [string, number])[]) => amountsBody(vault.address, items)
const pairs = (...items: (readonly [string, string])[]) => pairsBody(vault.address, items)
const good = (): readonly (readonly [path: string, body: object])[] => [
  ['/fund', tops([a, ETH])],
  ['/withdraw', tops([a, ETH])],
  ['/consolidate', pairs([a, b])],
]

/** The answer refuses in words, gives no signature and leaves no record. */
async function refuses(asking: () => Promise<Answer>, status: number, code: string): Promise<Answer> {
  const before = (await recorded(world)).length
  const answer = await asking()
  expect(answer).toMatchObject({ status, json: { code, message: expect.stringMatching(/\w{3}/) } })
  expect(answer.text).not.toMatch(/[0-9a-f]{130}/i)
  expect(await recorded(world)).toHaveLength(before)
  return answer
}
const refusesAll = async (status: number, code: string, at = url) => {
  for (const [path, body] of good()) await refuses(() => post(at, path, body), status, code)
}
/** That all is well again, or was before: a refusal for another reason would prove nothing. */
const signsAll = async () => {
  for (const [path, body] of good())
    expect(await post(url, path, body)).toMatchObject({
      status: 200,
      json: { validators_manager_signature: expect.stringMatching(/^0x[0-9a-f]{130}$/) },
    })
}

describe.skipIf(skipWithoutAnvil)('nothing is signed', () => {
  it('without a wallet', async () => {
    await using without = await world.startRelayer({
      ...settings,
      VALIDATORS_MANAGER_KEY_FILE: '',
      VALIDATORS_MANAGER_PASSWORD_FILE: '',
    })
    await refusesAll(422, 'MANAGER_MISSING', without.url)
  })

  it.each(['down', 'slow', 'garbage', { status: 500 }, { status: 404 }] as const)(
    'while the consensus node fails: %j',
    async (failure) => {
      world.beacon.fail(failure)
      try {
        await refusesAll(503, 'DEPENDENCY_AWAY')
      } finally {
        world.beacon.fail(undefined)
      }
      await signsAll()
    },
  )

  it('while the only consensus node is not in step', async () => {
    for (const step of [{ is_syncing: true, sync_distance: 1_234 }, { el_offline: true }, { is_optimistic: true }]) {
      world.beacon.setStep(step)
      try {
        // Seconds ago it was in step.
        await eventually('it is found out', async () =>
          (await post(url, '/fund', tops([a, ETH]))).status === 503 ? true : undefined,
        )
        await refusesAll(503, 'DEPENDENCY_AWAY')
      } finally {
        world.beacon.setStep(undefined)
      }
    }
    await signsAll()
  })

  it.each(['down', 'slow', 'garbage', { status: 429 }] as const)(
    'while the execution node fails: %j',
    async (failure) => {
      proxy.fail(failure)
      try {
        await refusesAll(503, 'DEPENDENCY_AWAY')
      } finally {
        proxy.fail(undefined)
      }
      await signsAll()
    },
  )

  it.each<[string, string, unknown]>([
    ['a nonce of no form', 'eth_call', '0x01'],
    ['a nonce that is text', 'eth_call', 'zero'],
    ['a nonce and more', 'eth_call', `0x${'00'.repeat(64)}`],
    ['no newest block', 'eth_getBlockByNumber', null],
    ['a block of no form', 'eth_getBlockByNumber', { number: 1 }],
  ])('when the execution node answers with %s', async (_, method, lie) => {
    proxy.answer((call) => (call.method === method ? lie : call.node()))
    try {
      await refusesAll(503, 'DEPENDENCY_AWAY')
    } finally {
      proxy.answer(undefined)
    }
  })

  it('when the execution node does not know the block it just named', async () => {
    proxy.answer((call) => {
      if (call.method === 'eth_call') throw new RpcRefusal(-32000, 'header not found')
      return call.node()
    })
    try {
      await refusesAll(503, 'DEPENDENCY_AWAY')
    } finally {
      proxy.answer(undefined)
    }
  })

  it('at an address without code, and at a contract that counts no signatures', async () => {
    const keeper = await deployContract(world.anvil, 'Keeper')
    for (const address of [toHex(randomBytes(20)), keeper.address]) {
      const key = addValidator(world, address)
      await refuses(() => post(url, '/fund', amountsBody(address, [[key, ETH]])), 422, 'VAULT_UNKNOWN')
      await refuses(() => post(url, '/withdraw', amountsBody(address, [[key, ETH]])), 422, 'VAULT_UNKNOWN')
      const source = addValidator(world, address)
      await refuses(() => post(url, '/consolidate', pairsBody(address, [[source, key]])), 422, 'VAULT_UNKNOWN')
    }
  })
})

describe.skipIf(skipWithoutAnvil)('nothing is signed for a validator', () => {
  /** One that is not fit, in second place of a funding and a withdrawal, as a source and as a target. */
  async function refusesValidator(key: string, code: string, amountGwei = ETH): Promise<void> {
    const refusal = async (path: string, body: object, list: string) => {
      const answer = await refuses(() => post(url, path, body), 422, 'VALIDATORS_REFUSED')
      expect(answer.json).toMatchObject({ failures: [{ index: 1, code }], message: expect.stringContaining(list) })
    }
    const spare = await addRegistered(world, vault)
    await refusal('/fund', tops([spare, ETH], [key, ETH]), 'public_keys')
    await refusal('/withdraw', tops([spare, ETH], [key, amountGwei]), 'public_keys')
    await refusal('/consolidate', pairs([spare, b], [key, b]), 'source_public_keys')
    await refusal('/consolidate', pairs([spare, b], [a, key]), 'target_public_keys')
  }

  it('that the beacon chain does not know, or of which only a wrongly signed deposit waits', async () => {
    await refusesValidator(toHex(randomBytes(48)), 'VALIDATOR_UNKNOWN')
    const publicKey = new Uint8Array(randomBytes(48))
    const [signature, amountGwei] = [new Uint8Array(96), BigInt(32 * ETH)]
    const withdrawalCredentials = credentialsOf('0x02', vault.address)
    world.beacon.addPendingDeposits({ publicKey, withdrawalCredentials, amountGwei, signature })
    await vault.addCompounding(toHex(publicKey))
    await refusesValidator(toHex(publicKey), 'VALIDATOR_UNKNOWN')
  })

  it('that the beacon chain does not have, without a question to the vault', async () => {
    const [foreign, unknown] = [addValidator(world, other.address), toHex(randomBytes(48))]
    proxy.calls.length = 0
    for (const [path, body] of [
      ['/fund', tops([foreign, ETH], [unknown, ETH])],
      ['/withdraw', tops([a, ETH], [unknown, ETH])],
      ['/consolidate', pairs([unknown, a])],
      ['/consolidate', pairs([a, unknown], [b, foreign])],
    ] as const)
      await refuses(() => post(url, path, body), 422, 'VALIDATORS_REFUSED')
    // Who its manager is, and at which block, is asked now and then by itself.
    const question = toFunctionSelector('v2Validators(bytes32)')
    expect(proxy.calls.filter(({ params: [call] }) => JSON.stringify(call ?? '').includes(question))).toEqual([])
  })

  it('of another vault, or of nobody', async () => {
    await refusesValidator(addValidator(world, other.address), 'VALIDATOR_FOREIGN')
    await refusesValidator(addValidator(world, other.address, { type: '0x01' }), 'VALIDATOR_FOREIGN')
    await refusesValidator(addValidator(world, vault.address, { type: '0x00' }), 'VALIDATOR_FOREIGN')
    const withdrawalCredentials = credentialsOf('0x02', vault.address).with(5, 1)
    const publicKey = new Uint8Array(randomBytes(48))
    world.beacon.addValidator({ publicKey, withdrawalCredentials })
    await refusesValidator(toHex(publicKey), 'VALIDATOR_FOREIGN', 0)
  })

  it.each([
    'active_exiting',
    'active_slashed',
    'exited_unslashed',
    'exited_slashed',
    'withdrawal_possible',
    'withdrawal_done',
    'of_a_later_fork',
  ])('that is %s', async (status) => {
    await refusesValidator(addValidator(world, vault.address, { status }), 'VALIDATOR_STATUS')
    await refusesValidator(addValidator(world, vault.address, { status }), 'VALIDATOR_STATUS', 0)
  })

  it.each(['pending_initialized', 'pending_queued'])('that is %s, but for funding', async (status) => {
    const key = await addRegistered(world, vault, { status })
    for (const [path, body] of [
      ['/withdraw', tops([key, ETH])],
      ['/withdraw', tops([key, 0])],
      ['/consolidate', pairs([key, a])],
      ['/consolidate', pairs([a, key])],
    ] as const)
      await refuses(() => post(url, path, body), 422, 'VALIDATORS_REFUSED')
    expect((await post(url, '/fund', tops([key, ETH]))).status).toBe(200)
  })

  it('of the wrong type', async () => {
    const old = addValidator(world, vault.address, { type: '0x01' })
    const needs = async (path: string, body: object) => {
      const answer = await refuses(() => post(url, path, body), 422, 'VALIDATORS_REFUSED')
      expect(answer.json).toMatchObject({ failures: [{ index: 0, code: 'VALIDATOR_TYPE' }] })
    }
    await needs('/fund', tops([old, ETH]))
    await needs('/withdraw', tops([old, ETH]))
    await needs('/consolidate', pairs([a, old]))
    await needs('/consolidate', pairs([addValidator(world, vault.address, { type: '0x01' }), old]))
    // The chain ignores a switch of one that is of type 0x02 already, and keeps the fee.
    await needs('/consolidate', pairs([a, a]))
    for (const [path, body] of [
      ['/withdraw', tops([old, 0])],
      ['/consolidate', pairs([old, a])],
      ['/consolidate', pairs([old, old])],
    ] as const)
      expect((await post(url, path, body)).status).toBe(200)
  })

  it('that stands twice in the request, in whatever spelling', async () => {
    const again = `0X${a.slice(2).toUpperCase()}`
    for (const [path, body] of [
      ['/fund', tops([a, ETH], [again, ETH])],
      ['/withdraw', tops([a, ETH], [again, 0])],
      ['/consolidate', pairs([a, b], [again, b])],
    ] as const)
      await refuses(() => post(url, path, body), 422, 'PUBLIC_KEY_DUPLICATE')
    const targetTwice = pairs([addValidator(world, vault.address), b], [addValidator(world, vault.address), b])
    expect((await post(url, '/consolidate', targetTwice)).status).toBe(200)
  })
})

describe.skipIf(skipWithoutAnvil)('nothing is signed for lists', () => {
  it('of different lengths', async () => {
    for (const [path, body] of [
      ['/fund', { ...tops([a, ETH], [b, ETH]), amounts: [ETH] }],
      ['/fund', { ...tops([a, ETH]), amounts: [ETH, ETH] }],
      ['/withdraw', { ...tops([a, ETH], [b, ETH]), amounts: [ETH] }],
      ['/withdraw', { ...tops([a, ETH]), amounts: [ETH, 0] }],
      ['/consolidate', { ...pairs([a, b]), source_public_keys: [a, b] }],
      ['/consolidate', { ...pairs([a, b]), target_public_keys: [a, b] }],
    ] as const)
      await refuses(() => post(url, path, body), 422, 'LISTS_UNEQUAL')
  })

  it('that are empty', async () => {
    for (const [path, body] of [
      ['/fund', tops()],
      ['/withdraw', tops()],
      ['/consolidate', pairs()],
    ] as const)
      await refuses(() => post(url, path, body), 422, 'BODY_INVALID')
  })

  it('longer than MAX_KEYS_PER_REQUEST', async () => {
    const keys = Array.from({ length: 9 }, () => toHex(randomBytes(48)))
    const [items, sources] = [keys.map((key) => [key, ETH] as const), keys.map((key) => [key, b] as const)]
    await refuses(() => post(url, '/fund', tops(...items)), 422, 'TOO_MANY_KEYS')
    await refuses(() => post(url, '/withdraw', tops(...items)), 422, 'TOO_MANY_KEYS')
    await refuses(() => post(url, '/consolidate', pairs(...sources)), 422, 'TOO_MANY_KEYS')
    // Before anything else is said of them: of a long list each item would be read, and named in the answer.
    const [same, moved] = [keys.map(() => [a, 0.5 * ETH] as const), keys.map(() => [a, a] as const)]
    for (const [path, body] of [
      ['/fund', tops(...same)],
      ['/withdraw', tops(...same)],
      ['/consolidate', pairs(...moved)],
    ] as const)
      expect((await refuses(() => post(url, path, body), 422, 'TOO_MANY_KEYS')).json).not.toHaveProperty('failures')
  })

  it('of validators whose type the vault could not tell from their number', async () => {
    await using many = await world.startRelayer(settings)
    const keys = Array.from({ length: 22 }, () => addValidator(world, vault.address))
    await vault.addCompounding(...keys)
    const body = tops(...keys.map((key) => [key, ETH] as const))
    await refuses(() => post(many.url, '/fund', body), 422, 'BATCH_AMBIGUOUS')
    expect((await post(many.url, '/fund', tops(...keys.slice(2).map((key) => [key, ETH] as const)))).status).toBe(200)
  })

  /** What `/fund` and `/withdraw` say; 0 is a full exit, and less than an ETH can be withdrawn but not put in. */
  it.each<[amount: string, fund: string, withdraw: string | undefined]>([
    ['0', 'BODY_INVALID', undefined],
    ['1', 'AMOUNT_INVALID', undefined],
    ['999999999', 'AMOUNT_INVALID', undefined],
    ['2048000000001', 'AMOUNT_INVALID', 'AMOUNT_INVALID'],
    ['9007199254740991', 'AMOUNT_INVALID', 'AMOUNT_INVALID'],
    ['9007199254740992', 'BODY_INVALID', 'BODY_INVALID'],
    ['9007199254740993', 'BODY_INVALID', 'BODY_INVALID'],
    ['18446744073709551617', 'BODY_INVALID', 'BODY_INVALID'],
    ['1e400', 'BODY_INVALID', 'BODY_INVALID'],
    ['-1', 'BODY_INVALID', 'BODY_INVALID'],
    ['-1000000000', 'BODY_INVALID', 'BODY_INVALID'],
    ['1000000000.5', 'BODY_INVALID', 'BODY_INVALID'],
    ['"1000000000"', 'BODY_INVALID', 'BODY_INVALID'],
    ['true', 'BODY_INVALID', 'BODY_INVALID'],
    ['null', 'BODY_INVALID', 'BODY_INVALID'],
    ['[1000000000]', 'BODY_INVALID', 'BODY_INVALID'],
  ])('with the amount %s', async (amount, fund, withdraw) => {
    const body = `{"vault":"${vault.address}","public_keys":["${a}"],"amounts":[${amount}]}`
    await refuses(() => post(url, '/fund', body), 422, fund)
    if (withdraw === undefined) expect((await post(url, '/withdraw', body)).status).toBe(200)
    else await refuses(() => post(url, '/withdraw', body), 422, withdraw)
  })
})

describe.skipIf(skipWithoutAnvil)('nothing is signed for a vault', () => {
  it('with a wrong checksum, or that is no address', async () => {
    const wrong = vault.address.replace(/[a-f]/i, (letter) =>
      letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase(),
    )
    expect(wrong).not.toBe(vault.address)
    for (const [path, body] of good()) {
      await refuses(() => post(url, path, { ...body, vault: wrong }), 422, 'VAULT_INVALID')
      await refuses(() => post(url, path, { ...body, vault: `${vault.address}00` }), 422, 'BODY_INVALID')
      await refuses(() => post(url, path, { ...body, vault: `0x${vault.address}` }), 422, 'BODY_INVALID')
    }
  })

  it('that is not one of VAULTS', async () => {
    await using fenced = await world.startRelayer({ ...settings, VAULTS: `${other.address},0x${'01'.repeat(20)}` })
    await refusesAll(422, 'VAULT_UNKNOWN', fenced.url)
    const key = addValidator(world, other.address)
    expect((await post(fenced.url, '/withdraw', amountsBody(other.address, [[key, ETH]]))).status).toBe(200)
  })

  it('that the token is not bound to; without a token, with another role, or a wrong one', async () => {
    const tokens = {
      bound: createToken('bound', 'operator', vault.address),
      elsewhere: createToken('elsewhere', 'operator', other.address),
      sidecar: createToken('sidecar', 'sidecar', '*'),
      oracle: createToken('oracle', 'oracle', '*'),
      admin: createToken('admin', 'admin', '*'),
    }
    const file = join(world.dir, 'tokens')
    await writeFile(
      file,
      Object.values(tokens)
        .map(({ line }) => line)
        .join('\n'),
    )
    await using fenced = await world.startRelayer({ ...settings, AUTH_TOKENS_FILE: file })
    const as = (token: string) => ({ authorization: `Bearer ${token}` })
    for (const [path, body] of good()) {
      const asking = (headers?: Record<string, string>) => () => post(fenced.url, path, body, headers)
      await refuses(asking(as(tokens.elsewhere.token)), 403, 'TOKEN_BINDING')
      await refuses(asking(as(tokens.sidecar.token)), 403, 'TOKEN_ROLE')
      await refuses(asking(as(tokens.oracle.token)), 403, 'TOKEN_ROLE')
      await refuses(asking(), 401, 'TOKEN_MISSING')
      await refuses(asking(as(`${tokens.bound.token}x`)), 401, 'TOKEN_UNKNOWN')
      expect((await post(fenced.url, path, body, as(tokens.bound.token))).status).toBe(200)
      expect((await post(fenced.url, path, body, as(tokens.admin.token))).status).toBe(200)
    }
    expect((await recorded(world)).slice(-6).map(({ requester }) => requester)).toEqual(
      Array.from({ length: 3 }, () => ['bound', 'admin']).flat(),
    )
  })

  it('to who comes from elsewhere while no tokens are set', async () => {
    for (const [path, payload] of [...good(), ['/register', register()] as const]) {
      // What is injected has no connection, so nobody knows where it comes from.
      const injected = await relayer.app.inject({ method: 'POST', url: path, payload })
      expect([injected.statusCode, injected.json().code]).toEqual([403, 'MANAGER_LOCAL_ONLY'])
      for (const header of ['origin', 'forwarded', 'x-forwarded-for', 'via'])
        await refuses(() => post(url, path, payload, { [header]: 'x' }), 403, 'MANAGER_LOCAL_ONLY')
    }
    expect(await query(world, 'select id from messages')).toEqual([])
  })

  it.skipIf(outerAddress === undefined)('to who came by an address that other machines reach', async () => {
    await using everywhere = await world.startRelayer({ ...settings, RELAYER_HOST: '0.0.0.0' })
    const { port } = new URL(everywhere.url)
    await refusesAll(403, 'MANAGER_LOCAL_ONLY', `http://${outerAddress}:${port}`)
    for (const [path, body] of good()) expect((await post(`http://127.0.0.1:${port}`, path, body)).status).toBe(200)
  })

  const register = () => ({
    vault: vault.address,
    validators_start_index: world.beacon.validatorCount + 10,
    amounts: [32 * ETH],
    validator_type: '0x01',
  })
})
