import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { afterAll, describe, expect, it } from 'vitest'
import { ChainError } from './errors.ts'
import { hasRealStake, networkOf, networks, parseNetwork } from './networks.ts'

const folder = mkdtempSync(join(tmpdir(), 'networks-'))
afterAll(() => rmSync(folder, { recursive: true }))

const devnet = {
  name: 'devnet',
  chain_id: 1337,
  slots_per_epoch: 8,
  seconds_per_slot: 2,
  genesis_timestamp: 1_700_000_000,
  genesis_validators_root: `0x${'Ab'.repeat(32)}`,
  genesis_fork_version: '0x10000038',
  capella_fork_version: '0x40000038',
  capella_epoch: 0,
  deposit_contract: `0x${'11'.repeat(20)}`,
  deposit_contract_block: 0,
  keeper: `0x${'22'.repeat(20)}`,
  keeper_block: 5,
}

function fileOf(content: unknown): string {
  const path = join(folder, `${Math.random()}.json`)
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

function refusal(setting: string): ChainError {
  try {
    parseNetwork(setting)
  } catch (error) {
    if (error instanceof ChainError) return error
  }
  throw new Error('it was accepted')
}

describe('built-in networks', () => {
  it('are what the protocol says', () => {
    const { hoodi, mainnet, gnosis } = networks
    expect(hoodi).toEqual({
      name: 'hoodi',
      chainId: 560048,
      slotsPerEpoch: 32,
      secondsPerSlot: 12,
      genesisTimestamp: 1742213400,
      genesisValidatorsRoot: fromHex('212f13fc4df078b6cb7db228f1c8307566dcecf900867401a92023d7ba99cb5f'),
      genesisForkVersion: Uint8Array.of(0x10, 0, 0x09, 0x10),
      capellaForkVersion: Uint8Array.of(0x40, 0, 0x09, 0x10),
      capellaEpoch: 0,
      depositContract: fromHex('00000000219ab540356cbb839cbe05303d7705fa'),
      depositContractBlock: 0,
      keeper: fromHex('a7d1ac9d6f32b404c75626874ba56f7654c1dc0f'),
      keeperBlock: 94074,
      registryDump: { cid: 'bafybeihgdexvx4oca6proa5adhcumf66zo5ugy5oppunsh2wnlo4ejnxgm', lastBlock: 1118796 },
      ssvNetwork: { address: fromHex('58410bef803ecd7e63b23664c586a6db72daf59c'), block: 1065 },
    })
    expect([mainnet.capellaEpoch, gnosis.capellaEpoch]).toEqual([194048, 648704])
    expect([toHex(mainnet.capellaForkVersion), toHex(gnosis.capellaForkVersion)]).toEqual(['0x03000000', '0x03000064'])
    expect([gnosis.chainId, gnosis.slotsPerEpoch, gnosis.secondsPerSlot]).toEqual([100, 16, 5])
    expect(gnosis.ssvNetwork).toBeUndefined()
  })

  it('are the table of docs/protocol.md, number by number', () => {
    const text = readFileSync(new URL('../../../docs/protocol.md', import.meta.url), 'utf8')
    const rows = (text.split('## 2. Networks')[1]?.split('##')[0] ?? '')
      .split('\n')
      .filter((line) => line.startsWith('| '))
      .map((line) => line.split('|').map((cell) => cell.trim().replaceAll('`', '')))
    const [, ...names] = rows[0]?.slice(1, -1) ?? []
    expect(names).toEqual(Object.keys(networks))
    for (const [column, network] of Object.values(networks).entries()) {
      // The rows as they are, the name of each left out.
      const values = rows.slice(1).map((cells) => cells[2 + column])
      const { registryDump, ssvNetwork } = network
      const deposits = toHex(network.depositContract)
      expect(values.map((value) => value?.toLowerCase())).toEqual([
        String(network.chainId),
        `${network.slotsPerEpoch} / ${network.secondsPerSlot}`,
        String(network.genesisTimestamp),
        toHex(network.genesisValidatorsRoot),
        toHex(network.genesisForkVersion),
        toHex(network.capellaForkVersion),
        String(network.capellaEpoch),
        column > 0 && deposits === toHex(networks.mainnet.depositContract) ? 'same' : deposits,
        String(network.depositContractBlock),
        toHex(network.keeper),
        String(network.keeperBlock),
        registryDump?.cid,
        String(registryDump?.lastBlock),
        ssvNetwork === undefined ? 'none' : toHex(ssvNetwork.address),
        ssvNetwork === undefined ? '' : String(ssvNetwork.block),
      ])
    }
  })

  it('are about real money on mainnet and gnosis, under whatever name', () => {
    expect([1, 100, 560048, 2, 99].map((chainId) => hasRealStake({ chainId }))).toEqual([
      true,
      true,
      false,
      false,
      false,
    ])
  })

  it('are found by name in any letter case', () => {
    expect(parseNetwork('hoodi')).toBe(networks.hoodi)
    expect(parseNetwork('Mainnet')).toBe(networks.mainnet)
  })
})

describe('a custom network', () => {
  it('is read from its file', () => {
    const network = parseNetwork(fileOf(devnet))
    expect(network).toEqual(networkOf(devnet))
    expect(network).toMatchObject({ name: 'devnet', chainId: 1337, keeperBlock: 5, ssvNetwork: undefined })
    expect(toHex(network.genesisValidatorsRoot)).toBe(`0x${'ab'.repeat(32)}`)
  })

  it('has its dump and its SSV contract from the first block on where it does not say more', () => {
    const network = parseNetwork(fileOf({ ...devnet, registry_dump_cid: 'Qm1', ssv_network: devnet.keeper }))
    expect(network.registryDump).toEqual({ cid: 'Qm1', lastBlock: 0 })
    expect(network.ssvNetwork).toEqual({ address: fromHex(devnet.keeper), block: 0 })
    const later = { registry_dump_cid: 'Qm1', registry_dump_block: 8, ssv_network: devnet.keeper, ssv_network_block: 9 }
    const { registryDump, ssvNetwork } = parseNetwork(fileOf({ ...devnet, ...later }))
    expect([registryDump?.lastBlock, ssvNetwork?.block]).toEqual([8, 9])
  })

  it('names every problem of its file at once', () => {
    const { keeper, ...rest } = devnet
    const { message } = refusal(fileOf({ ...rest, chain_id: '1337', genesis_fork_version: '0x10', kepper: keeper }))
    for (const field of ['keeper', 'chain_id', 'genesis_fork_version', 'kepper']) expect(message).toContain(field)
  })

  it.each(Object.keys(devnet))('is refused when %s is missing or of the wrong type', (field) => {
    expect(refusal(fileOf({ ...devnet, [field]: undefined })).message).toContain(field)
    expect(refusal(fileOf({ ...devnet, [field]: null })).message).toContain(field)
  })

  it.each([
    ['chain_id', 1],
    ['slots_per_epoch', 1],
    ['seconds_per_slot', 1],
    ['genesis_timestamp', 0],
    ['capella_epoch', 0],
    ['deposit_contract_block', 0],
    ['keeper_block', 0],
    ['registry_dump_block', 0],
    ['ssv_network_block', 0],
  ])('has a %s of %i at least', (field, least) => {
    const rest = { registry_dump_cid: 'Qm1', registry_dump_block: 0, ssv_network: devnet.keeper, ssv_network_block: 0 }
    expect(parseNetwork(fileOf({ ...devnet, ...rest, [field]: least })).name).toBe('devnet')
    expect(refusal(fileOf({ ...devnet, ...rest, [field]: least - 1 })).message).toContain(field)
  })

  it('is refused when it takes the name of a built-in network, is not JSON, or is not there', () => {
    expect(refusal(fileOf({ ...devnet, name: 'mainnet' })).message).toContain('built-in')
    expect(refusal(fileOf('{')).message).toContain('not JSON')
    expect(refusal('holesky').message).toContain('mainnet, hoodi, gnosis')
    expect(refusal(fileOf({ ...devnet, chain_id: 2 ** 53 })).code).toBe('NETWORK_INVALID')
  })
})
