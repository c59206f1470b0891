/** The record of what the validators-manager key signed: written first, one row for each signature, never changed. */

import { writeFile } from 'node:fs/promises'
import { createServer, connect as openSocket, type Socket } from 'node:net'
import { join } from 'node:path'
import { nonceToRoot } from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { concatHex, recoverAddress } from 'viem/utils'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import { createEvents } from '../../../apps/relayer/src/events.ts'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import type { Relayer } from '../../../apps/relayer/src/relayer.ts'
import { createManager, openWallet } from '../../../apps/relayer/src/services/registrations/manager.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import type { Vault } from '../../support/contracts/vault.ts'
import { makeCluster } from '../../support/keys/make-cluster.ts'
import * as operator from '../../support/operator/operator.ts'
import { encodeDeposit, uint64 } from '../../support/operator/operator-encoding.ts'
import {
  addValidator,
  amountsBody,
  ETH,
  post,
  query,
  type Recorded,
  recorded,
  registerCompounding,
  settings,
} from '../../support/stages/manager.ts'
import { sidecar2Round } from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { eventually } from '../../support/world/world.ts'

let world: VaultWorld
let relayer: Relayer
let url: string
let vault: Vault
beforeAll(async () => {
  if (skipWithoutAnvil) return
  world = await startVaultWorld({ oracles: 3, threshold: 2, validators: 20 })
  vault = await world.deployVault()
  relayer = await world.startRelayer(settings)
  url = relayer.url
})
afterAll(async () => {
  await relayer?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

const add = (fields?: Parameters<typeof addValidator>[2]) => addValidator(world, vault.address, fields)
/** Positions of three, in every order; the last is the first one backwards. */
const PERMUTATIONS = [
  [0, 1, 2],
  [0, 2, 1],
  [1, 0, 2],
  [1, 2, 0],
  [2, 0, 1],
  [2, 1, 0],
] as const
const withdrawal = (key = add()) => amountsBody(vault.address, [[key, ETH]])
const last = async () => (await recorded(world)).at(-1) as Recorded

describe.skipIf(skipWithoutAnvil)('a row', () => {
  it('says who had what signed, for which vault, under which nonce, and when', async () => {
    const [key = '0x'] = await registerCompounding(world, vault, 1)
    const [target, old] = [add(), add({ type: '0x01' })]
    await vault.addCompounding(target)
    const [part, top] = [[{ publicKey: target, amountGwei: 3 * ETH }], [{ publicKey: key, amountGwei: 2 * ETH }]]
    const pairs = [{ source: old, target }]
    const cases = [
      {
        action: 'fund',
        amount_gwei: String(2 * ETH),
        signature: await operator.fund(url, vault.address, top),
        validators: encodeDeposit(vault.address, '0x02', key, 2 * ETH, new Uint8Array(96)),
      },
      {
        action: 'withdraw',
        amount_gwei: String(3 * ETH),
        signature: await operator.withdraw(url, vault.address, part),
        validators: concatHex([target, uint64(3 * ETH)]),
      },
      {
        action: 'consolidate',
        amount_gwei: String(32 * ETH),
        signature: await operator.consolidate(url, vault.address, pairs),
        validators: concatHex([old, target]),
      },
    ]
    const rows = await recorded(world, vault.address)
    expect(rows).toHaveLength(3)
    const root = Buffer.from(nonceToRoot(await vault.nonce()))
    for (const [position, { signature, validators, ...row }] of cases.entries()) {
      const found = rows[position] as Recorded
      expect(found).toMatchObject({
        ...row,
        vault: Buffer.from(fromHex(vault.address)),
        requester: 'anybody',
        validators: Buffer.from(fromHex(validators)),
        validator_count: 1,
        registry_root: root,
        signed_at: expect.any(Date),
      })
      expect(await recoverAddress({ hash: toHex(found.digest), signature })).toBe(world.manager.address)
    }
    const [late] = await query(
      world,
      `select count(*)::int as rows from manager_signatures where signed_at between now() - interval '10 minutes' and now()`,
    )
    expect(late).toEqual({ rows: 3 })
  })

  it('names the token; the same signature for another token is another row, for the same one it is not', async () => {
    const tokens = [createToken('first', 'operator', '*'), createToken('second', 'operator', vault.address)]
    const file = join(world.dir, 'tokens')
    await writeFile(file, tokens.map(({ line }) => line).join('\n'))
    await using fenced = await world.startRelayer({ ...settings, AUTH_TOKENS_FILE: file })
    const before = (await recorded(world)).length
    const body = withdrawal()
    const answers = []
    for (const { token } of [...tokens, ...tokens])
      answers.push(await post(fenced.url, '/withdraw', body, { authorization: `Bearer ${token}` }))
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
    const rows = (await recorded(world)).slice(before)
    expect(rows.map(({ requester }) => requester)).toEqual(['first', 'second'])
    expect(rows[0]?.digest).toEqual(rows[1]?.digest)
  })

  it('is one for requests at the same moment, and another one once the nonce has moved', async () => {
    const before = (await recorded(world)).length
    const key = add()
    const exits = [{ publicKey: key, amountGwei: ETH }]
    const signatures = await Promise.all(Array.from({ length: 8 }, () => operator.withdraw(url, vault.address, exits)))
    expect(new Set(signatures).size).toBe(1)
    expect(await recorded(world)).toHaveLength(before + 1)
    expect(await operator.withdrawOnChain(vault, exits, signatures[0] ?? '')).toMatchObject({ ok: true })
    await operator.withdraw(url, vault.address, exits)
    const rows = (await recorded(world)).slice(before)
    expect(rows).toHaveLength(2)
    expect(rows[0]?.validators).toEqual(rows[1]?.validators)
    expect(rows[0]?.registry_root).not.toEqual(rows[1]?.registry_root)
  })

  it('is one for the same validators in any order, and each order is signed as it is asked for', async () => {
    const before = (await recorded(world)).length
    const exits = [add(), add(), add()].map((publicKey, position) => ({ publicKey, amountGwei: (1 + position) * ETH }))
    const signatures = new Set<string>()
    for (const [a, b, c] of PERMUTATIONS) {
      const order = [exits[a], exits[b], exits[c]].flatMap((one) => one ?? [])
      const signature = await operator.withdraw(url, vault.address, order)
      // Again, and it is the same.
      expect(await operator.withdraw(url, vault.address, order)).toBe(signature)
      signatures.add(signature)
    }
    expect(signatures.size).toBe(6)
    const rows = (await recorded(world)).slice(before)
    expect(rows).toHaveLength(1)
    const entries = exits.map(({ publicKey, amountGwei }) => concatHex([publicKey, uint64(amountGwei)])).toSorted()
    expect(rows[0]?.validators).toEqual(Buffer.from(fromHex(concatHex(entries))))
    // The vault takes the signature of the order it is given, and no other.
    const [first = '', last = ''] = [[...signatures][0], [...signatures][5]]
    const reversed = exits.toReversed()
    expect(await operator.withdrawOnChain(vault, reversed, first)).toMatchObject({ ok: false })
    expect(await operator.withdrawOnChain(vault, reversed, last)).toMatchObject({ ok: true })
    // Another amount, or one less, is something else.
    await operator.withdraw(url, vault.address, exits.slice(1))
    expect(await recorded(world)).toHaveLength(before + 2)
  })

  it('is committed before the wallet is asked', async () => {
    const { config } = readConfig(world.environment(settings))
    await using db = await connectDatabase({ url: world.databaseUrl, logger: silentLogger })
    const wallet = await openWallet(config)
    if (wallet === undefined) throw new Error('no wallet')
    const seen: Recorded[] = []
    const watched = {
      ...wallet,
      // Over another connection, which sees what is committed.
      sign: async (message: Parameters<typeof wallet.sign>[0]) => {
        seen.push(await last())
        return wallet.sign(message)
      },
    }
    const manager = createManager({ config, db, wallet: watched, events: createEvents(silentLogger) })
    const validators = fromHex(concatHex([add(), uint64(ETH)]))
    const signature = await manager.sign({
      action: 'withdraw',
      vault: fromHex(vault.address),
      requester: 'me',
      registryRoot: nonceToRoot(77n),
      validators,
      validatorCount: 1,
      amountGwei: 1n,
    })
    expect(seen).toMatchObject([{ requester: 'me', validators: Buffer.from(validators) }])
    const [{ digest }] = seen as [Recorded]
    expect(await recoverAddress({ hash: toHex(digest), signature })).toBe(wallet.address)
  })

  it.each([
    ['update manager_signatures set amount_gwei = 0'],
    ['update manager_signatures set requester = requester where false'],
    ['delete from manager_signatures'],
    ['delete from manager_signatures where false'],
    ['truncate manager_signatures'],
    ['truncate manager_signatures restart identity cascade'],
    [
      `insert into manager_signatures (action, vault, requester, registry_root, validators, validator_count, amount_gwei, digest)
         select action, vault, requester, registry_root, validators, validator_count, amount_gwei, digest from manager_signatures
         on conflict (id) do update set amount_gwei = 0`,
    ],
    [`merge into manager_signatures m using (select 1) one on true when matched then delete`],
  ])('is never changed: %s', async (statement) => {
    const before = await recorded(world)
    expect(before.length).toBeGreaterThan(0)
    await expect(query(world, statement)).rejects.toThrow('rows of manager_signatures are never changed or deleted')
    expect(await recorded(world)).toEqual(before)
  })
})

/** A door to the database that can be shut: connections through it are cut, and no new ones come in. */
async function startDoor(databaseUrl: string) {
  const target = new URL(databaseUrl)
  const open = new Set<Socket>()
  let isShut = false
  const server = createServer((socket) => {
    if (isShut) return void socket.destroy()
    const inner = openSocket(Number(target.port), target.hostname)
    for (const [a, b] of [[socket, inner] as const, [inner, socket] as const]) {
      open.add(a)
      a.on('error', () => b.destroy())
      a.on('close', () => {
        open.delete(a)
        b.destroy()
      })
      a.pipe(b)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = new URL(databaseUrl)
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as { port: number }).port)
  const shut = () => {
    isShut = true
    for (const socket of open) socket.destroy()
  }
  return {
    url: url.href,
    shut,
    reopen: () => {
      isShut = false
    },
    async [Symbol.asyncDispose]() {
      shut()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

describe.skipIf(skipWithoutAnvil)('without a record there is no signature', () => {
  it('while the database is away', async () => {
    await using door = await startDoor(world.databaseUrl)
    await using behind = await world.startRelayer({ ...settings, ROLE: 'api', DATABASE_URL: door.url })
    const [key, target, before] = [add(), add(), (await recorded(world)).length]
    await vault.addCompounding(key, target)
    expect((await post(behind.url, '/withdraw', withdrawal())).status).toBe(200)
    door.shut()
    for (const [path, body] of [
      ['/withdraw', withdrawal(key)],
      ['/fund', withdrawal(key)],
      ['/consolidate', { vault: vault.address, source_public_keys: [key], target_public_keys: [target] }],
    ] as const)
      expect(await post(behind.url, path, body)).toMatchObject({ status: 503, json: { code: 'DEPENDENCY_AWAY' } })
    expect(await recorded(world)).toHaveLength(before + 1)
    door.reopen()
    await eventually('it signs again', async () =>
      (await post(behind.url, '/withdraw', withdrawal(key))).status === 200 ? true : undefined,
    )
    expect(await recorded(world)).toHaveLength(before + 2)
  })

  it('when it is lost while the row is written, or the row cannot be', async () => {
    await using db = await connectDatabase({ url: world.databaseUrl, logger: silentLogger })
    const asking = await db.transaction(async (tx) => {
      await tx.execute('lock table manager_signatures in access exclusive mode' as never)
      const answer = post(url, '/withdraw', withdrawal())
      await eventually('the relayer waits for the row', async () => {
        const [row] = await query(
          world,
          `select pg_terminate_backend(pid) from pg_stat_activity
           where datname = current_database() and wait_event_type = 'Lock' and query like '%insert into "manager_signatures"%'`,
        )
        return row
      })
      return answer
    })
    expect(asking).toMatchObject({ status: 503, json: { code: 'DEPENDENCY_AWAY' } })
    await query(world, 'alter table manager_signatures add constraint nothing check (validator_count > 9) not valid')
    const before = (await recorded(world)).length
    const refused = await post(url, '/withdraw', withdrawal())
    expect(refused).toMatchObject({ status: 500, json: { code: 'INTERNAL' } })
    expect(refused.text).not.toMatch(/[0-9a-f]{40}/)
    await query(world, 'alter table manager_signatures drop constraint nothing')
    expect(await recorded(world)).toHaveLength(before)
    expect((await post(url, '/withdraw', withdrawal())).status).toBe(200)
  })
})

it.skipIf(skipWithoutAnvil)('polls of a registration leave one row for each root of the deposit contract', async () => {
  const own = await world.deployVault()
  const cluster = await makeCluster({
    dir: join(world.dir, 'cluster'),
    nodes: 3,
    threshold: 2,
    validators: 1,
    network: world.network,
    withdrawalAddress: fromHex(own.address, 20),
    feeRecipient: fromHex(own.address, 20),
  })
  // A registration is bounded by what the vault holds, so the daily limit is not asked.
  await using second = await world.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile, MANAGER_DAILY_LIMIT_GWEI: '1' })
  const startIndex = operator.nextIndex(world.beacon) + 5
  const request = { vault: own.address, startIndex, amounts: [32 * ETH], type: '0x01' as const }
  await operator.register(second.url, request)
  expect(await recorded(world, own.address)).toEqual([])
  for (const shareIndex of [1, 2]) await sidecar2Round(second.url, world.network, cluster.validators, shareIndex)
  const first = await operator.registerUntilReady(second.url, request)
  for (let i = 0; i < 5; i++) expect(await operator.register(second.url, request)).toEqual(first)
  await world.anvil.mine(1)
  expect(await operator.register(second.url, request)).toEqual(first)
  expect(await recorded(world, own.address)).toMatchObject([
    { action: 'register', requester: 'anybody', validator_count: 1, amount_gwei: String(32 * ETH) },
  ])
  await registerCompounding(world, vault, 1)
  const next = await operator.registerUntilReady(second.url, request)
  expect(next.validators_manager_signature).not.toBe(first.validators_manager_signature)
  const rows = await recorded(world, own.address)
  expect(rows.map(({ registry_root }) => toHex(registry_root))[1]).toBe(await own.depositContract.root())
  expect(rows).toHaveLength(2)
  expect(await operator.registerOnChain(own, '0x01', next)).toMatchObject({ ok: true })
})
