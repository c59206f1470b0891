import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { countByRound } from '../../../../../test/support/event-loop.ts'
import { loadSsvCluster, operatorFiles, ssvPath } from '../../../../../test/support/keys/ssv.ts'
import { createSsvFiles } from './files.ts'
import type { OperatorRef } from './operator-ref.ts'
import { openSsvKeystore } from './ssv.ts'

const engine = createBlstEngine()
const signal = new AbortController().signal
const OPERATOR = 70001
const READDED = loadSsvCluster('cluster-4-readded')
const fileOf = (name: string) => ssvPath(`${name}/keyshares.json`)

let root = ''
let folders = 0
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'ssv-files-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))
const folder = async () => {
  const dir = join(root, String(folders++))
  await mkdir(dir)
  return dir
}

interface Sources {
  keysharesFiles?: string[]
  proofsFiles?: string[]
  owners?: Uint8Array[]
}

describe('keyshares files', () => {
  const operator = (id: number): OperatorRef => ({ id, publicKey: undefined, name: `operator ${id}` })
  function filesOf(sources: Sources, id = OPERATOR) {
    const keysharesRead = vi.fn()
    const all = { keysharesFiles: [], proofsFiles: [], owners: [], ...sources }
    const files = createSsvFiles({ sources: all, operators: [operator(id)], engine, events: { keysharesRead } })
    return { read: files.read, keysharesRead }
  }

  it('are read where they have changed, and tell what is in them', async () => {
    const file = join(await folder(), 'keyshares.json')
    await copyFile(fileOf('cluster-4-readded'), file)
    const { read, keysharesRead } = filesOf({ keysharesFiles: [file] })
    expect((await read()).items.length).toBe(READDED.validators.length)
    expect((await read()).items.length).toBe(READDED.validators.length)
    const { length } = READDED.validators
    const told = { validators: length, ours: length, otherOwners: 0, isProven: false }
    expect(keysharesRead.mock.calls).toEqual([[file, told]])
    await writeFile(file, `${await readFile(file, 'utf8')}\n`)
    await read()
    expect(keysharesRead).toHaveBeenCalledTimes(2)
  })

  it('are verified one validator at a time, so that others have the event loop in between', async () => {
    const cluster = loadSsvCluster('cluster-4')
    const counted = countByRound()
    const counting: BlsEngine = {
      ...engine,
      verify: (...args) => {
        counted.count()
        return engine.verify(...args)
      },
    }
    const sources = { keysharesFiles: [fileOf('cluster-4')], proofsFiles: [], owners: [] }
    const operators = cluster.operator_ids.slice(0, 1).map(operator)
    const { read } = createSsvFiles({ sources, operators, engine: counting, events: { keysharesRead() {} } })
    expect((await read()).items.length).toBe(2)
    counted.end()
    expect(counted.inRounds()).toEqual([1, 1])
  })

  it('of other operators or other owners have nothing for us', async () => {
    const file = fileOf('cluster-4-readded')
    const { length } = READDED.validators
    const others = filesOf({ keysharesFiles: [file] }, 1)
    expect(await others.read()).toEqual({ items: [], problems: [] })
    expect(others.keysharesRead.mock.lastCall?.[1]).toMatchObject({ validators: length, ours: 0, otherOwners: 0 })
    const strangers = filesOf({ keysharesFiles: [file], owners: [new Uint8Array(20).fill(1)] })
    expect(await strangers.read()).toEqual({ items: [], problems: [] })
    expect(strangers.keysharesRead.mock.lastCall?.[1]).toMatchObject({ ours: length, otherOwners: length })
    const owners = [new Uint8Array(20).fill(1), fromHex(READDED.owner, 20)]
    expect((await filesOf({ keysharesFiles: [file], owners }).read()).items.length).toBe(length)
  })

  it('with proofs beside them must stand up to these', async () => {
    const [id = 0] = loadSsvCluster('cluster-4-dkg').operator_ids
    const dir = await folder()
    for (const name of ['keyshares.json', 'proofs.json'])
      await copyFile(ssvPath(`cluster-4-dkg/${name}`), join(dir, name))
    const { read, keysharesRead } = filesOf({ keysharesFiles: [dir] }, id)
    expect((await read()).problems).toEqual([])
    expect(keysharesRead.mock.lastCall?.[1]).toMatchObject({ isProven: true })
    await writeFile(join(dir, 'proofs.json'), '[]')
    const { items, problems } = await read()
    expect([items.length > 0, problems.length]).toEqual([true, 1])
  })

  it('that are broken or gone keep what they held, and cost the others nothing', async () => {
    const [dir, other] = [await folder(), await folder()]
    const file = join(dir, 'keyshares.json')
    await copyFile(fileOf('cluster-4-readded'), file)
    await copyFile(fileOf('cluster-4'), join(other, 'keyshares.json'))
    const { read } = filesOf({ keysharesFiles: [dir, other, join(root, 'nowhere')] })
    const { length } = READDED.validators
    const look = async () => {
      const { items, problems } = await read()
      return [items.length, problems.map(({ code }) => code)]
    }
    expect(await look()).toEqual([length, ['KEYSHARES_UNREADABLE']])
    await writeFile(file, '{')
    expect(await look()).toEqual([length, [expect.stringMatching(/^KEYSHARES_/), 'KEYSHARES_UNREADABLE']])
    await rm(file)
    expect(await look()).toEqual([length, ['KEYSHARES_MISSING', 'KEYSHARES_UNREADABLE']])
    await rm(dir, { recursive: true })
    expect(await look()).toEqual([length, ['KEYSHARES_UNREADABLE', 'KEYSHARES_UNREADABLE']])
  })

  it('give way to a later split of the same owner, of other operators too', async () => {
    const [id = 0] = loadSsvCluster('cluster-4').operator_ids
    const before = loadSsvCluster('cluster-4').validators.length
    const files = [fileOf('cluster-4'), fileOf('cluster-4-readded')]
    expect((await filesOf({ keysharesFiles: files.slice(0, 1) }, id).read()).items.length).toBe(before)
    expect((await filesOf({ keysharesFiles: files }, id).read()).items.length).toBe(before - 1)
    // The later one stays, whatever was before.
    expect((await filesOf({ keysharesFiles: files }).read()).items.length).toBe(READDED.validators.length)
  })

  it('stay where the later split is not the word of who holds the validator key', async () => {
    const { operator_ids, validators } = loadSsvCluster('cluster-4')
    const json = JSON.parse(await readFile(fileOf('cluster-4-readded'), 'utf8')) as {
      shares: { payload: { sharesData: string } }[]
    }
    for (const { payload } of json.shares) payload.sharesData = payload.sharesData.replace(/^0x../, '0x81')
    const forged = join(await folder(), 'forged.json')
    await writeFile(forged, JSON.stringify(json))
    const { items, problems } = await filesOf({ keysharesFiles: [fileOf('cluster-4'), forged] }, operator_ids[0]).read()
    expect([items.length, problems]).toEqual([validators.length, []])
  })
})

describe('the keystore of an SSV operator', () => {
  const { SSV_OPERATOR_KEY_FILE: keyFile } = operatorFiles(OPERATOR)
  async function keystoreOf(sources: Sources, operatorId?: number) {
    const events = {
      ...{ anyOwner: vi.fn(), keysharesRead: vi.fn(), ssvSharesSkipped: vi.fn(), sharesUndecipherable: vi.fn() },
      ...{ decryptingShares: vi.fn(), operatorKeyMislabelled: vi.fn() },
    }
    const ssv = {
      ...{ operators: [{ operatorId, keyFile, passwordFile: undefined }], chain: undefined },
      ...{ keysharesFiles: [], proofsFiles: [], owners: [], ...sources },
    }
    const keystore = await openSsvKeystore({
      ...{ ssv: ssv as never, network: networks.hoodi, engine, events: events as never },
    })
    return { keystore, events }
  }

  it('signs with the shares of its files, until it is let go', async () => {
    const { keystore, events } = await keystoreOf({ keysharesFiles: [fileOf('cluster-4-readded')] })
    expect([await keystore.reload(signal), await keystore.reload(signal)]).toEqual([true, false])
    expect(keystore.operatorKeys?.map(({ id }) => id)).toEqual([undefined])
    const [keyShare] = keystore.keyShares
    const [validator] = READDED.validators
    if (keyShare === undefined) throw new Error('no key share')
    expect(keyShare).toEqual({
      ...{ validatorPublicKey: validator?.public_key, shareIndex: OPERATOR, withdrawalAddress: undefined },
      publicKeyShares: validator?.public_key_shares.map(({ share_index, public_key_share }) => ({
        ...{ share_index, public_key_share },
      })),
    })
    const signingRoot = new Uint8Array(32).fill(7)
    const own = validator?.public_key_shares.find(({ share_index }) => share_index === OPERATOR)
    const message = { kind: 'exit', epoch: 0, validatorIndex: 0 } as const
    const signature = await keystore.sign({ signingRoot, message, keyShare }, signal)
    expect(engine.verify(fromHex(own?.public_key_share ?? '', 48), signingRoot, signature)).toBe(true)
    expect([events.anyOwner.mock.calls.length, events.ssvSharesSkipped.mock.calls]).toEqual([1, [[0], [0]]])
    await keystore[Symbol.asyncDispose]()
    expect(keystore.keyShares).toEqual([])
  })

  it('of one owner takes the files of no other, and says so of none', async () => {
    const owners = [fromHex(READDED.owner, 20)]
    const { keystore, events } = await keystoreOf({ keysharesFiles: [fileOf('cluster-4-readded')], owners })
    expect(await keystore.reload(signal)).toBe(true)
    expect(events.anyOwner).not.toHaveBeenCalled()
  })

  it.each([
    [undefined, `for the key of ${keyFile}:`],
    [OPERATOR, `for the key of ${keyFile} as operator ${OPERATOR}:`],
  ])('as operator %s with the files of others has none', async (operatorId, words) => {
    const { keystore } = await keystoreOf({ keysharesFiles: [fileOf('cluster-7')] }, operatorId)
    await expect(keystore.reload(signal)).rejects.toMatchObject({
      ...{ code: 'KEYSHARES_OF_OTHERS', message: expect.stringContaining(words) },
    })
  })

  it('says what is wrong, all of it, and takes over what is right', async () => {
    const nowhere = ['one', 'two'].map((name) => join(root, name))
    const { keystore } = await keystoreOf({ keysharesFiles: [fileOf('cluster-4-readded'), ...nowhere.slice(0, 1)] })
    await expect(keystore.reload(signal)).rejects.toMatchObject({ code: 'KEYSHARES_UNREADABLE' })
    expect(keystore.keyShares.length).toBe(READDED.validators.length)
    const { keystore: other } = await keystoreOf({ keysharesFiles: nowhere })
    await expect(other.reload(signal)).rejects.toMatchObject({
      ...{ code: 'KEYSHARES_UNREADABLE', message: expect.stringMatching(/one.*; .*two/) },
    })
  })
})
