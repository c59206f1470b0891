import { networks } from '@dvt-relayer/chain/networks.ts'
import { createLogger } from '@dvt-relayer/common/log/logger.ts'
import { expect, it } from 'vitest'
import { judgeUnverified } from './unverified-content.ts'

const { mainnet, gnosis, hoodi } = networks
const own = (network: typeof hoodi) => ({ ...network, name: 'own' })

/** What becomes of content on a network, and what is logged. */
function judge(network: typeof hoodi, verification: 'verified' | 'unverified') {
  const lines: string[] = []
  const destination = { write: (line: string) => void lines.push(line) }
  const logger = createLogger({ level: 'debug', format: 'json', destination })
  judgeUnverified({ config: { network }, logger }, { what: 'oracle config', cid: 'Qm', verification })
  return lines
}

it.each([mainnet, gnosis, hoodi, own(mainnet), own(hoodi)])(
  'proven content counts on $name of chain $chainId',
  (network) => expect(judge(network, 'verified')).toEqual([]),
)

it.each([mainnet, gnosis, own(mainnet), own(gnosis)])(
  'other content is refused on $name of chain $chainId',
  (network) => expect(() => judge(network, 'unverified')).toThrow(expect.objectContaining({ code: 'IPFS_UNVERIFIED' })),
)

it.each([hoodi, own(hoodi)])('other content is warned of on $name of chain $chainId', (network) =>
  expect(judge(network, 'unverified')).toEqual([expect.stringContaining('could not be checked against its CID')]),
)
