import { expect, it } from 'vitest'
import type { AnnouncedConfig } from '../../context.ts'
import { findAnnounced } from './sets.ts'

const ANNOUNCED = { cid: 'a', block_number: 5, time: 7 }
const STORED = { next_block: 10, announced: ANNOUNCED }
const CONFIG: AnnouncedConfig = { cid: 'a', blockNumber: 5, announcedAt: 7 }

interface World {
  stored?: unknown
  config?: AnnouncedConfig | undefined
  nextBlock?: number
  denial?: string
  doubt?: string
}

/** What is found of what the chain has announced, what it was asked for, and whether it was asked who denies that. */
async function find({ stored, config, nextBlock = 10, denial, doubt }: World, hasDatabase = true) {
  const asked: unknown[] = []
  const where = async () => (stored === undefined ? [] : [{ value: stored }])
  const found = await findAnnounced({
    db: (hasDatabase ? { select: () => ({ from: () => ({ where }) }) } : undefined) as never,
    oracleSets: {
      newest: async (...of) => {
        asked.push(of)
        return { config, nextBlock, doubt }
      },
      findDenial: async (of) => {
        asked.push(['denied?', of.cid])
        return denial
      },
    },
  })
  return { found, asked }
}
const SINCE = [10, { blockNumber: 5 }]
const ALL = [undefined, undefined]
const newest = CONFIG

it.each<[string, World, unknown[], object]>([
  ['nothing new of what is stored', { stored: STORED }, [SINCE], { newest }],
  ['the same once more', { stored: STORED, config: CONFIG }, [SINCE], { newest }],
  [
    'nothing up to a later block',
    { stored: STORED, nextBlock: 12 },
    [SINCE],
    { newest, checkpoint: { next_block: 12, announced: ANNOUNCED } },
  ],
  [
    'the same up to a later block',
    { stored: STORED, config: CONFIG, nextBlock: 12 },
    [SINCE],
    { newest, checkpoint: { next_block: 12, announced: ANNOUNCED } },
  ],
  [
    'the same of another time',
    { stored: STORED, config: { ...CONFIG, announcedAt: 8 } },
    [SINCE],
    { newest: { ...newest, announcedAt: 8 }, checkpoint: { ...STORED, announced: { ...ANNOUNCED, time: 8 } } },
  ],
  [
    'the same of another block, which nobody denies',
    { stored: STORED, config: { ...CONFIG, blockNumber: 6 } },
    [SINCE, ['denied?', 'a']],
    { newest: { ...newest, blockNumber: 6 }, checkpoint: { ...STORED, announced: { ...ANNOUNCED, block_number: 6 } } },
  ],
  [
    'another one, which nobody denies',
    { stored: STORED, config: { ...CONFIG, cid: 'b' } },
    [SINCE, ['denied?', 'b']],
    { newest: { ...newest, cid: 'b' }, checkpoint: { ...STORED, announced: { ...ANNOUNCED, cid: 'b' } } },
  ],
  [
    'another one, which a node denies',
    { stored: STORED, config: { ...CONFIG, cid: 'b' }, denial: 'no', doubt: 'more' },
    [SINCE, ['denied?', 'b']],
    { denial: 'no' },
  ],
  ['nothing at all', { nextBlock: 4 }, [ALL], { checkpoint: { next_block: 4 } }],
  ['nothing at all again', { stored: { next_block: 4 }, nextBlock: 4 }, [[4, undefined]], {}],
  ['a doubt', { stored: STORED, doubt: 'more' }, [SINCE], { newest, doubt: 'more' }],
  ['the first one', { config: CONFIG }, [ALL, ['denied?', 'a']], { newest, checkpoint: STORED }],
  [
    'the very first block',
    { stored: { next_block: 0, announced: { cid: 'a', block_number: 0, time: 0 } }, nextBlock: 0 },
    [[0, { blockNumber: 0 }]],
    { newest: { cid: 'a', blockNumber: 0, announcedAt: 0 } },
  ],
  [
    'what nobody stored so',
    { stored: { next_block: '10', announced: ANNOUNCED } },
    [ALL],
    { checkpoint: { next_block: 10 } },
  ],
])('is announced: %s', async (_, world, asked, found) => {
  expect(await find(world)).toEqual({ asked, found })
})

it('is announced, as text that can stand anywhere, and without a database as if nothing were known', async () => {
  const odd = { ...CONFIG, cid: ` \u0000ü\n${'x'.repeat(300)} ` }
  const { found, asked } = await find({ stored: STORED, config: odd }, false)
  const cid = `???${'x'.repeat(197)}`
  expect(asked[0]).toEqual(ALL)
  expect(found).toEqual({
    newest: { ...newest, cid },
    checkpoint: { next_block: 10, announced: { ...ANNOUNCED, cid } },
  })
  const { asked: again } = await find({ stored: { ...STORED, announced: { ...ANNOUNCED, cid } }, config: odd })
  expect(again).toEqual([SINCE])
})
