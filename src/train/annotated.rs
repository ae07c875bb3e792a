//! The keys that say how fakes are chosen for annotation, and how the annotated ones are drawn (§2.4).

use crate::{table, words};

/// How annotated fakes are chosen and drawn (§2.4).
#[derive(Debug, Clone)]
pub struct Annotated {
    pub pool: Pool,
    /// Annotated pictures per mixed step.
    pub batch: usize,
    pub selection: SelectionConfig,
    pub concept: ConceptConfig,
}

words!(
    /// Which pictures a step with annotations sees.
    Pool {
        /// A balanced batch of the training set, and `stage2.annotated_batch` annotated ones.
        Mixed,
        /// Batches of the training set; attention only where an annotated picture happens to be in them.
        Full,
        /// The annotated fakes and as many random true pictures.
        ActivePlusTrue,
    }
);

words!(
    /// How channels are ranked by the linear model's weights.
    Rank { Signed, Abs }
);
words!(
    /// How a picture is scored from the top channels.
    Score { Sum, Weighted, Max, MeanRank }
);
words!(
    /// How candidates for annotation are chosen.
    Select { Active, Random }
);
words!(
    /// Where the masks of the chosen fakes come from.
    Masks {
        /// The data: exact where the forgeries are made here, else files.
        Data,
        /// A person: the run stops between the selection and stage 2 until `lae-engine annotate` has them.
        Person,
    }
);
table!(
    /// The linear concept model (eq. 10).
    ConceptConfig {
        bias: bool = false,
        lr: f64 = 1e-3,
        epochs: usize = 5,
        batch: usize = 64,
    }
);
table!(
    /// Active learning (§2.4).
    SelectionConfig {
        /// Pictures to annotate.
        annotations: usize = 100,
        mode: Select = Select::Active,
        /// Channels that score a picture.
        topk: usize = 10,
        rank: Rank = Rank::Signed,
        score: Score = Score::Sum,
        /// Choose anew at every epoch of stage 2 (Algorithm 1 prints it inside the loop; the budget implies once).
        reselect: bool = false,
        /// Who makes the masks.
        masks: Masks = Masks::Data,
    }
);
