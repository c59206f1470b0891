/** A database belongs to one network: noted at its first start, refused for another. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import { startRelayer } from '../../../apps/relayer/src/relayer.ts'
import { silentLogger } from '../../../libs/common/src/log/logger.ts'
import { postValidators, publicKeysOf } from '../../support/world/nodes.ts'
import { eventually, startWorld, type World } from '../../support/world/world.ts'
import { make, threshold } from './support.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
})
beforeEach(async () => {
  await world.query(`delete from checkpoints where name = 'network'`)
})

const noted = () => world.query(`select value from checkpoints where name = 'network'`)
const hoodi = {
  name: 'hoodi',
  chain_id: networks.hoodi.chainId,
  genesis_validators_root: toHex(networks.hoodi.genesisValidatorsRoot),
}

/** A start on the same database for another network: the nodes are those of ours, and are not even asked. */
async function startElsewhere(): Promise<unknown> {
  const { mainnet } = networks
  const file = join(world.dir, 'elsewhere.json')
  await writeFile(
    file,
    JSON.stringify({
      name: 'elsewhere',
      chain_id: mainnet.chainId,
      slots_per_epoch: 32,
      seconds_per_slot: 12,
      genesis_timestamp: mainnet.genesisTimestamp,
      genesis_validators_root: toHex(mainnet.genesisValidatorsRoot),
      genesis_fork_version: toHex(mainnet.genesisForkVersion),
      capella_fork_version: toHex(mainnet.capellaForkVersion),
      capella_epoch: mainnet.capellaEpoch,
      deposit_contract: toHex(mainnet.depositContract),
      deposit_contract_block: mainnet.depositContractBlock,
      keeper: toHex(mainnet.keeper),
      keeper_block: mainnet.keeperBlock,
    }),
  )
  const { config } = readConfig(world.environment({ ...threshold, NETWORK: file }))
  return startRelayer(config, { logger: silentLogger })
}

it('the first start notes its network, and one of another network is refused', async () => {
  {
    await using _relayer = await world.startRelayer(threshold)
  }
  expect(await noted()).toEqual([{ value: hoodi }])
  await expect(startElsewhere()).rejects.toMatchObject({
    name: 'BootError',
    code: 'DATABASE_NETWORK',
    message: expect.stringMatching(
      /^the database at .* is not one of NETWORK=elsewhere: it belongs to hoodi \(chain id \d+\)\. Give each network a database of its own/,
    ),
  })
  await using _again = await world.startRelayer(threshold)
})

it('one that an earlier version made is taken over where its exits are of this network, and refused where they are not', async () => {
  {
    await using relayer = await world.startRelayer(threshold)
    await eventually('an exit', async () =>
      (await postValidators(relayer.url, publicKeysOf(make(1)))).status === 200 ? true : undefined,
    )
  }
  await world.query(`delete from checkpoints where name = 'network'`)
  await expect(startElsewhere()).rejects.toMatchObject({
    code: 'DATABASE_NETWORK',
    message: expect.stringContaining('the exits in it are of another network'),
  })
  expect(await noted()).toEqual([])
  await using _relayer = await world.startRelayer(threshold)
  expect(await noted()).toEqual([{ value: hoodi }])
})
