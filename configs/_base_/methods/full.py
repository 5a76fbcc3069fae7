"""Full fine-tuning: the whole trunk trains, with stochastic depth; task files contain it."""

method = dict(type='mmqadapter.FrozenBackbone', train=('.',), trunk_drop_path=True)
ade20k_rate = 6e-5  # mmsegmentation's learning rate; a decoder on a frozen trunk takes a higher one
