import { networks } from '@dvt-relayer/chain/networks.ts'
import { createLogger } from '@dvt-relayer/common/logger.ts'
import { describe, expect, it } from 'vitest'
import { judgeUnverified } from './unverified-content.ts'

const content = { what: 'oracle config', cid: 'QmSome' }
const ALL = Object.values(networks)
const REAL = ALL.filter(({ name }) => name === 'mainnet' || name === 'gnosis')

/** Judges content on a network; returns what was logged. */
function judge(network: (typeof ALL)[number], verification: 'verified' | 'agreed' | 'unverified'): unknown[] {
  const lines: unknown[] = []
  const destination = { write: (line: string) => void lines.push(JSON.parse(line)) }
  const logger = createLogger({ level: 'debug', format: 'json', destination })
  judgeUnverified({ config: { network }, logger }, { ...content, verification })
  return lines
}

describe('content that was checked against its CID', () => {
  it.each(ALL)('is taken without a word on $name', (network) => {
    expect(judge(network, 'verified')).toEqual([])
  })
})

describe('content that nothing speaks for', () => {
  it('is of two networks with real stake, and one without', () => {
    expect([REAL.length, ALL.length > REAL.length]).toEqual([2, true])
  })

  it.each(REAL)('is refused on $name, by its name and CID', (network) => {
    expect(() => judge(network, 'unverified')).toThrow(
      expect.objectContaining({
        code: 'IPFS_UNVERIFIED',
        message: expect.stringContaining('the oracle config QmSome could not be checked against its CID'),
      }),
    )
  })

  it.each(ALL.filter((network) => !REAL.includes(network)))('is taken with a warning on $name', (network) => {
    expect(judge(network, 'unverified')).toEqual([
      expect.objectContaining({ level: 'warn', cid: 'QmSome', msg: expect.stringContaining('oracle config') }),
    ])
  })
})
