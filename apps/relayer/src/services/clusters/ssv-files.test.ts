import type { FileItem } from '@dvt-relayer/chain/ssv/keyshares-files.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { describe, expect, it } from 'vitest'
import { loadSsvCluster, ssvPath } from '../../../../../test/support/keys/ssv.ts'
import { newestItems, readKeysharesFiles } from './ssv-files.ts'

const read = (...keysharesFiles: string[]) => readKeysharesFiles({ owners: [], keysharesFiles, proofsFiles: [] })
const briefs = (items: readonly FileItem[]) =>
  items.map(({ item }) => `${item.ownerNonce} ${toHex(item.publicKey).slice(0, 12)}`)

describe('keyshares files', () => {
  it('are found in folders, and proven by what lies beside them', async () => {
    expect((await read(ssvPath('cluster-4'))).items).toHaveLength(2)
    expect((await read(ssvPath('cluster-4-dkg'))).items.map(({ file }) => file)).toEqual([
      ssvPath('cluster-4-dkg/keyshares.json'),
    ])
    await expect(read(ssvPath('operators/263'))).rejects.toThrow(
      /operators\/263 of SSV_KEYSHARES_FILES holds no keyshares\*\.json/,
    )
  })

  it('stand up to the proofs that are named', async () => {
    const files = { owners: [], keysharesFiles: [ssvPath('cluster-4')] }
    await expect(readKeysharesFiles({ ...files, proofsFiles: [ssvPath('cluster-4-dkg/proofs.json')] })).rejects.toThrow(
      /has no proof of operator 263's share of shares\[0\]/,
    )
  })

  it('are left out where their owner does not count', async () => {
    const files = { keysharesFiles: [ssvPath('cluster-4')], proofsFiles: [] }
    expect(await readKeysharesFiles({ ...files, owners: [new Uint8Array(20)] })).toEqual({ items: [], otherOwners: 2 })
    const owner = Uint8Array.from(Buffer.from(loadSsvCluster('cluster-4').owner.slice(2), 'hex'))
    for (const owners of [[owner], [new Uint8Array(20), owner]])
      expect(await readKeysharesFiles({ ...files, owners })).toMatchObject({ otherOwners: 0 })
  })

  it('that split a key again count by the later nonce, in any order', async () => {
    const { items } = await read(ssvPath('cluster-4'), ssvPath('cluster-4-readded'), ssvPath('cluster-4'))
    const expected = ['1 0xafc8b16a8a', '5 0xb09da8d6f7']
    expect(briefs(newestItems(items)).sort()).toEqual(expected)
    expect(briefs(newestItems(items.toReversed())).sort()).toEqual(expected)
  })

  it('that say the same twice are one, where it was read first', async () => {
    const [one] = (await read(ssvPath('cluster-4'))).items
    if (one === undefined) throw new Error('no item')
    expect(newestItems([one, { ...one, file: 'again.json' }])).toEqual([one])
  })

  it('of two owners, or of one nonce with other shares, contradict each other', async () => {
    const [one] = (await read(ssvPath('cluster-4'))).items
    if (one === undefined) throw new Error('no item')
    const other = (change: object): FileItem => ({ file: 'other.json', item: { ...one.item, ...change } })
    for (const change of [
      { ownerAddress: new Uint8Array(20), ownerNonce: 9 },
      { data: { ...one.item.data, bytes: new Uint8Array(1312) } },
    ])
      expect(() => newestItems([one, other(change)])).toThrow(/shares\[0\] and other\.json shares\[0\] say different/)
  })
})
