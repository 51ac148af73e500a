"""Training CLIFF's networks end to end, the paper's way: ``cliff train --config FILE``.

One walk: `config` says what; `readers` and `sources` give people, `augment` changes how they are seen;
`objective` is CLIFF's loss; `trainer` runs it, on one processor or many, and leaves a file that
``cliff export`` reads.
"""
